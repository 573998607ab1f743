import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../../shared/vectors/tlog/', import.meta.url));

/** For a test's `skip` option: why public vectors are not there, or false. */
export const skipVectors: string | false = existsSync(ROOT)
  ? false
  : 'the public vectors are not here: they belong in ../shared/vectors/tlog beside the repository';

export function vectorPath(path: string): string {
  return ROOT + path;
}

export function vectorBytes(path: string): Uint8Array {
  return new Uint8Array(readFileSync(ROOT + path));
}

export function vectorJson<T>(path: string): T {
  return JSON.parse(readFileSync(ROOT + path, 'utf8')) as T;
}
