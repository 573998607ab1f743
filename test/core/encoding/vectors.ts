import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../../shared/vectors/', import.meta.url));

/** For a test's `skip` option: why the public vectors of `room` are not there, or false. */
export function skipWithout(room: string): string | false {
  return existsSync(ROOT + room)
    ? false
    : `the public vectors are not here: they belong in ../shared/vectors/${room}`;
}

export function vectorJson<T>(path: string): T {
  return JSON.parse(readFileSync(ROOT + path, 'utf8')) as T;
}

export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'));
}
