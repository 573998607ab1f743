/**
 * Bringing a rotation of keys to its end, whatever moment it was cut off at. New keys lie in `keys/next/` until
 * `keys/next/endorsement` is there: before that a rotation is undone, from then on it is finished. An old
 * secret goes when its successor is in place durably; on flash memory its traces may outlast the overwriting.
 */
import { link, open, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../files.ts';
import { keyPath, keysDirectory, PURPOSES } from './purposes.ts';
import { appendStatement, statementsPath } from './statements-file.ts';

/** Where the files of a rotation lie until it is finished. */
export function nextDirectory(directory: string): string {
  return join(keysDirectory(directory), 'next');
}

export function nextPath(directory: string, file: string): string {
  return join(nextDirectory(directory), file);
}

/** The name in `next/` of the statement that makes a rotation final. */
export const ENDORSEMENT = 'endorsement';

/** Finishes or undoes a rotation that was cut off; nothing when there is none. */
export async function settleRotation(directory: string): Promise<void> {
  for await (const _ of settleSteps(directory));
}

/** The steps of settleRotation, each durable when it is yielded: a test stops between any two. */
export async function* settleSteps(directory: string): AsyncGenerator<string> {
  if (!(await exists(nextDirectory(directory)))) return;
  if (await exists(nextPath(directory, ENDORSEMENT))) yield* finishSteps(directory);
  for (const file of await readdir(nextDirectory(directory))) {
    // What is not public is overwritten; the endorsement goes last, since it says that all is to be finished.
    if (file === ENDORSEMENT) continue;
    await wipe(nextPath(directory, file));
    yield `wiped ${file}`;
  }
  await rm(nextPath(directory, ENDORSEMENT), { force: true });
  await syncDirectory(nextDirectory(directory));
  yield 'forgot the rotation';
  await rmdir(nextDirectory(directory));
  await syncDirectory(keysDirectory(directory));
  yield 'removed its directory';
}

async function* finishSteps(directory: string): AsyncGenerator<string> {
  await appendStatement(
    statementsPath(directory),
    new Uint8Array(await readFile(nextPath(directory, ENDORSEMENT))),
  );
  yield 'stored the statement';
  for (const purpose of PURPOSES) {
    const next = nextPath(directory, `${purpose}.pem`);
    if (!(await exists(next))) continue;
    // A second name for the old key, so that it can be overwritten when the first has gone to the new one.
    await link(keyPath(directory, purpose), nextPath(directory, `${purpose}.old`)).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      },
    );
    await syncDirectory(nextDirectory(directory));
    yield `linked the old ${purpose} key`;
    await rename(next, keyPath(directory, purpose));
    await syncBoth(directory);
    yield `switched the ${purpose} key`;
  }
  if (await exists(nextPath(directory, 'tls.crt'))) {
    await rename(nextPath(directory, 'tls.crt'), join(keysDirectory(directory), 'tls.crt'));
    await syncBoth(directory);
    yield 'switched the certificate';
  }
}

/** Overwrites a file and takes it away. */
async function wipe(path: string): Promise<void> {
  const { size } = await stat(path);
  const file = await open(path, 'r+');
  try {
    await file.write(Buffer.alloc(size), 0, size, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await rm(path);
}

async function syncBoth(directory: string): Promise<void> {
  await syncDirectory(keysDirectory(directory));
  await syncDirectory(nextDirectory(directory));
}

export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
