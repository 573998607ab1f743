import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Builds a child's program into `directory`, so that plain node starts it at once; gives its path. */
export async function bundled(entry: URL, directory: string): Promise<string> {
  const outfile = join(directory, 'child.mjs');
  await build({
    entryPoints: [fileURLToPath(entry)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    absWorkingDir: ROOT,
    logLevel: 'silent',
  });
  await symlink(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  return outfile;
}
