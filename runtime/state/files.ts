/** Files that are read whole with a bound, and replaced whole or not at all. */
import { open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * The text of the file at `path`, at most `limit` bytes of it.
 * @throws Error that names the file and says what to do: absent, not permitted, too large.
 */
export async function readBounded(path: string, limit: number): Promise<string> {
  return Buffer.from(await readBoundedBytes(path, limit)).toString('utf8');
}

/** As readBounded, for bytes. */
export async function readBoundedBytes(path: string, limit: number): Promise<Uint8Array> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    throw explain(path, error);
  });
  try {
    const { size } = await file.stat();
    if (size > limit) throw new Error(`${path} has ${size} bytes; at most ${limit} are read`);
    return await file.readFile();
  } catch (error) {
    throw explain(path, error as NodeJS.ErrnoException);
  } finally {
    await file.close();
  }
}

function explain(path: string, error: NodeJS.ErrnoException): Error {
  if (error.code === 'ENOENT') return new Error(`${path} does not exist`, { cause: error });
  if (error.code === 'EACCES') {
    return new Error(`${path} may not be read by this user; check its owner and mode`, { cause: error });
  }
  if (error.code === 'EISDIR') return new Error(`${path} is a directory, not a file`, { cause: error });
  return error;
}

/** Replaces the file at `path`: a temporary file beside it, fsync, rename, fsync of the directory. */
export async function replaceFile(path: string, data: string | Uint8Array, mode = 0o644): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  const file = await open(temporary, 'w', mode);
  try {
    await file.writeFile(data);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Whether something is at `path`. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false;
      throw error;
    },
  );
}
