import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Advice, ensureInstalled, runScript } from './ensure.mjs';
import { packageDirectory, ROOT } from './install/parts.mjs';

/** The programs and worker files of dist/, by their name there. */
const ENTRIES = {
  kosmos: 'runtime/cli/main.ts',
  trainer: 'runtime/services/training/child.ts',
};

/** Packages that stay outside: compiled code, optional parts, and what carries compiled code. */
const EXTERNAL = ['level', 'classic-level', 'i2c-bus', 'onoff', 'johnny-five', '@tensorflow/tfjs-node'];

const WASM_PACKAGE = '@tensorflow/tfjs-backend-wasm';
const DIST = join(ROOT, 'dist');
const RECORD = join(DIST, 'build.json');
/** A running gateway may still import a chunk of the build before. */
const KEEP_OLD_CHUNKS_MS = 60 * 60_000;

/** CommonJS packages find these three in their chunk. */
const BANNER = `import { createRequire as kosmosCreateRequire } from 'node:module';
import { dirname as kosmosDirname } from 'node:path';
import { fileURLToPath as kosmosToPath } from 'node:url';
const require = kosmosCreateRequire(import.meta.url);
const __filename = kosmosToPath(import.meta.url);
const __dirname = kosmosDirname(__filename);`;

function tell(line) {
  process.stderr.write(`kosmos: ${line}\n`);
}

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}

/** What the result depends on besides the source files. */
function recipe() {
  const files = ['scripts/build.mjs', 'package.json', 'package-lock.json', 'tsconfig.json'];
  return sha256(files.map((file) => sha256(readFileSync(join(ROOT, file)))).join());
}

function presentEntries() {
  return Object.fromEntries(Object.entries(ENTRIES).filter(([, file]) => existsSync(join(ROOT, file))));
}

function describeInput(path) {
  const { size, mtimeMs } = statSync(join(ROOT, path));
  return { size, mtimeMs, sha256: sha256(readFileSync(join(ROOT, path))) };
}

function sameInput(path, recorded) {
  const stat = statSync(join(ROOT, path), { throwIfNoEntry: false });
  if (stat === undefined || stat.size !== recorded.size) return false;
  return stat.mtimeMs === recorded.mtimeMs || sha256(readFileSync(join(ROOT, path))) === recorded.sha256;
}

function upToDate(entries) {
  let record;
  try {
    record = JSON.parse(readFileSync(RECORD, 'utf8'));
  } catch {
    return false; // never built, or the record is damaged: build
  }
  return (
    record.recipe === recipe() &&
    JSON.stringify(record.entries) === JSON.stringify(entries) &&
    record.outputs.every((name) => existsSync(join(DIST, name))) &&
    Object.entries(record.inputs).every(([path, input]) => sameInput(path, input))
  );
}

/** Two builds may run at once (tests do that): a file is either absent, old or new, never half. */
function writeWhole(name, bytes) {
  const path = join(DIST, name);
  const old = statSync(path, { throwIfNoEntry: false });
  if (old?.size === bytes.length && readFileSync(path).equals(Buffer.from(bytes))) return;
  const temporary = `${path}.${process.pid}.tmp`;
  // npm links the command to this file: it has to be executable.
  writeFileSync(temporary, bytes, { mode: name === 'kosmos.mjs' ? 0o755 : 0o644 });
  renameSync(temporary, path);
}

function wasmFiles() {
  const directory = packageDirectory(WASM_PACKAGE);
  if (directory === undefined)
    throw new Advice(`${WASM_PACKAGE} is not installed: remove node_modules and try again.`);
  const from = join(directory, 'dist');
  return readdirSync(from)
    .filter((name) => name.endsWith('.wasm'))
    .map((name) => ({ name, bytes: readFileSync(join(from, name)) }));
}

function removeStale(outputs) {
  const kept = new Set([...outputs, 'build.json']);
  for (const name of readdirSync(DIST)) {
    const path = join(DIST, name);
    if (kept.has(name) || !statSync(path, { throwIfNoEntry: false })?.isFile()) continue;
    if (Date.now() - statSync(path).mtimeMs > KEEP_OLD_CHUNKS_MS) rmSync(path, { force: true });
  }
}

async function bundle(entries) {
  const esbuild = await import('esbuild');
  try {
    return await esbuild.build({
      absWorkingDir: ROOT,
      entryPoints: entries,
      outdir: DIST,
      outExtension: { '.js': '.mjs' },
      // Flat, so that new URL('./trainer.mjs', import.meta.url) is right in every chunk.
      chunkNames: 'chunk-[name]-[hash]',
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      // Packages without an exports map are taken in their ES form: the other one has no names once it is a chunk.
      mainFields: ['module', 'main'],
      external: EXTERNAL,
      banner: { js: BANNER },
      legalComments: 'eof',
      metafile: true,
      write: false,
      logLevel: 'silent',
    });
  } catch (error) {
    if (error.errors === undefined) throw error;
    const lines = await esbuild.formatMessages(error.errors, {
      kind: 'error',
      color: process.stderr.isTTY === true,
    });
    throw new Advice(`the program does not build:\n${lines.join('')}`);
  } finally {
    await esbuild.stop();
  }
}

/**
 * Makes dist/ from the sources; at once when nothing has changed since the last time. Entries that do not
 * exist are named and left out. `clean` removes every older file first (for packing).
 */
export async function ensureBuilt({ clean = false } = {}) {
  const entries = presentEntries();
  for (const [name, file] of Object.entries(ENTRIES)) {
    if (!(name in entries)) tell(`${file} does not exist: dist/${name}.mjs is left out.`);
  }
  if (Object.keys(entries).length === 0) throw new Advice('there is nothing to build.');
  if (!clean && upToDate(entries)) return;

  const started = performance.now();
  const { outputFiles, metafile } = await bundle(entries);
  if (clean) rmSync(DIST, { recursive: true, force: true });
  mkdirSync(DIST, { recursive: true });

  const files = outputFiles.map(({ path, contents }) => ({ name: relative(DIST, path), bytes: contents }));
  const isEntry = ({ name }) => name.slice(0, -'.mjs'.length) in entries;
  const inOrder = [...wasmFiles(), ...files.filter((file) => !isEntry(file)), ...files.filter(isEntry)];
  for (const { name, bytes } of inOrder) writeWhole(name, bytes);

  const outputs = inOrder.map(({ name }) => name);
  const inputs = Object.fromEntries(Object.keys(metafile.inputs).map((path) => [path, describeInput(path)]));
  const record = { recipe: recipe(), entries, outputs, inputs };
  writeWhole('build.json', Buffer.from(`${JSON.stringify(record, null, 1)}\n`));
  removeStale(outputs);
  const size = files.reduce((sum, { bytes }) => sum + bytes.length, 0);
  tell(
    `built ${relative(ROOT, DIST)}/ (${(size / 1e6).toFixed(1)} MB in ${Math.round(performance.now() - started)} ms).`,
  );
}

/** The built program of that name, as a path. Throws `Advice` when it was left out. */
export function builtProgram(name) {
  const path = join(DIST, `${name}.mjs`);
  if (!(name in presentEntries()) || !existsSync(path)) {
    throw new Advice(`${relative(ROOT, path)} was not built: ${ENTRIES[name]} does not exist.`);
  }
  return path;
}

const startedAsProgram = process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href;
if (startedAsProgram) {
  await runScript(async () => {
    await ensureInstalled();
    const clean = process.argv.includes('--clean') || process.env.npm_lifecycle_event === 'prepack';
    await ensureBuilt({ clean });
    return 0;
  });
}
