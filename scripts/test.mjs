// npm test [-- FILE|DIRECTORY ...] [-- --test-name-pattern=...]: installs what is missing, then type-checks,
// lints, builds (tests start the built program) and tests; every step runs, whatever became of the others.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBuilt } from './build.mjs';
import { Advice, ensureInstalled, runScript } from './ensure.mjs';
import { packageDirectory, ROOT } from './install/parts.mjs';
import { runNode } from './run.mjs';

/** No single test file may hold up the rest for longer. */
const FILE_LIMIT_MS = 15 * 60_000;

function testFiles(path) {
  if (statSync(path).isFile()) return [path];
  return readdirSync(path, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const inside = join(path, entry.name);
      if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : testFiles(inside);
      return entry.name.endsWith('.test.ts') ? [inside] : [];
    });
}

function chosenFiles(names) {
  const roots = names.length > 0 ? names : ['test'];
  return roots.flatMap((name) => {
    const path = resolve(name);
    if (!existsSync(path))
      throw new Advice(`${name} does not exist: give test files or directories, or nothing.`);
    const files = testFiles(path);
    if (files.length === 0) throw new Advice(`${name} holds no file that ends in .test.ts.`);
    return files.map((file) => relative(ROOT, file));
  });
}

async function step(name, run) {
  process.stdout.write(`\n# ${name}\n`);
  return { name, code: await run() };
}

async function build() {
  try {
    await ensureBuilt();
    return 0;
  } catch (error) {
    if (!(error instanceof Advice)) throw error;
    process.stderr.write(`kosmos: ${error.message}\n`);
    return 1;
  }
}

await runScript(async () => {
  await ensureInstalled();
  process.chdir(ROOT);
  const given = process.argv.slice(2);
  const options = given.filter((text) => text.startsWith('-'));
  const files = chosenFiles(given.filter((text) => !text.startsWith('-')));

  const tsc = join(packageDirectory('typescript'), 'bin', 'tsc');
  const biome = join(packageDirectory('@biomejs/biome'), 'bin', 'biome');
  const runner = [
    '--import',
    'tsx',
    '--test',
    `--test-concurrency=${availableParallelism()}`,
    `--test-timeout=${FILE_LIMIT_MS}`,
    `--test-reporter=${pathToFileURL(join(ROOT, 'scripts', 'testing', 'report.mjs')).href}`,
    '--test-reporter-destination=stdout',
    ...options,
    ...files,
  ];
  const results = [
    await step('type-check', () => runNode([tsc, '--noEmit'])),
    await step('lint', () => runNode([biome, 'check', '.'])),
    await step('build', build),
    await step('tests', () => runNode(runner)),
  ];
  const failed = results.filter(({ code }) => code !== 0).map(({ name }) => name);
  if (failed.length > 0) process.stderr.write(`kosmos: failed: ${failed.join(', ')}\n`);
  return failed.length > 0 ? 1 : 0;
});
