/** Where the program's own files lie, as a bundle and as sources. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function findRoot(): string {
  for (let directory = dirname(fileURLToPath(import.meta.url)); ; directory = dirname(directory)) {
    if (existsSync(join(directory, 'package.json'))) return directory;
    if (dirname(directory) === directory)
      throw new Error('the files of kosmos are incomplete: no package.json above the program');
  }
}

const root = findRoot();

/** A file that is shipped with the program. */
export function projectFile(...parts: readonly string[]): string {
  return join(root, ...parts);
}

export function projectVersion(): string {
  const { version } = JSON.parse(readFileSync(projectFile('package.json'), 'utf8')) as {
    readonly version: string;
  };
  return version;
}

/** Main module of the training process: beside the bundle, or among the sources. */
export function trainerModule(): URL {
  return import.meta.url.endsWith('.ts')
    ? new URL('../services/training/child.ts', import.meta.url)
    : new URL('./trainer.mjs', import.meta.url);
}
