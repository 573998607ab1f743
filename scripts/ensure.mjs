import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeMissing, packageDirectory, probeParts, ROOT } from './install/parts.mjs';

const LEAST_NODE = [20, 19];
const INSTALL_LIMIT_MS = 15 * 60_000;
const REBUILD_LIMIT_MS = 5 * 60_000;
const LOCK = join(ROOT, 'package-lock.json');
const MODULES = join(ROOT, 'node_modules');
const MARKER = join(MODULES, '.kosmos-installed.json');

function tell(line) {
  process.stderr.write(`kosmos: ${line}\n`);
}

/** A problem that a person has to solve: printed without a stack. */
export class Advice extends Error {}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const [leastMajor, leastMinor] = LEAST_NODE;
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return;
  throw new Advice(`Node ${process.versions.node} is too old: ${LEAST_NODE.join('.')} or newer is needed.`);
}

/** Runs npm, the one that started this program if there is one. */
function npm(args, { limitMs, quiet = false }) {
  const own = process.env.npm_execpath;
  const viaNode = own?.endsWith('.js') && existsSync(own);
  const command = viaNode ? process.execPath : process.platform === 'win32' ? 'npm.cmd' : 'npm';
  return new Promise((resolve, reject) => {
    const child = spawn(command, viaNode ? [own, ...args] : args, {
      cwd: ROOT,
      // npm reports on both streams; ours on stdout belongs to the command that follows (--json).
      stdio: ['ignore', quiet ? 'pipe' : process.stderr, quiet ? 'pipe' : process.stderr],
      env: { ...process.env, KOSMOS_INSTALLING: '1' },
      shell: process.platform === 'win32' && !viaNode,
      timeout: limitMs,
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8');
      stream?.on('data', (text) => {
        said = (said + text).slice(-20_000);
      });
    }
    child.on('error', (error) => reject(new Advice(`npm cannot be started: ${error.message}`)));
    child.on('close', (code, signal) =>
      resolve({ ok: code === 0, said, ended: signal ?? `exit code ${code}` }),
    );
  });
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined; // absent or damaged: both mean that it tells nothing
  }
}

/** What the installed tree was checked for: another lock file, Node or machine asks for a new check. */
function fingerprint() {
  const lock = createHash('sha256').update(readFileSync(LOCK)).digest('hex');
  return { lock, modules: process.versions.modules, platform: process.platform, arch: process.arch };
}

function sameFingerprint(marker, wanted) {
  return marker !== undefined && Object.keys(wanted).every((key) => marker[key] === wanted[key]);
}

/** Whether npm's own record of node_modules holds all that the lock file asks for; optional parts may lack. */
function treeMatchesLock() {
  const asked = readJson(LOCK)?.packages;
  const present = readJson(join(MODULES, '.package-lock.json'))?.packages;
  if (asked === undefined) throw new Advice('package-lock.json is absent or damaged: restore it from git.');
  if (present === undefined) return false;
  for (const [path, wanted] of Object.entries(asked)) {
    if (path === '') continue;
    const found = present[path];
    if (found === undefined && !wanted.optional) return false;
    if (found !== undefined && (found.version !== wanted.version || found.integrity !== wanted.integrity))
      return false;
    if (found !== undefined && !wanted.optional && !existsSync(join(ROOT, path, 'package.json')))
      return false;
  }
  return true;
}

async function install() {
  tell('installing the packages of package-lock.json (npm ci) ...');
  const { ok, ended } = await npm(
    ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'],
    { limitMs: INSTALL_LIMIT_MS },
  );
  if (!ok) {
    throw new Advice(
      `npm ci did not succeed (${ended}); its own words are above. Is the package registry reachable?`,
    );
  }
}

/** Runs the install scripts that npm held back (npm 11, --ignore-scripts), of the parts that do not load. */
async function buildHeldBack(states) {
  const unbuilt = states.filter(({ state }) => state === 'unbuilt');
  for (const { part } of unbuilt) {
    tell(
      `${part.name} is installed but its native part does not load: running the install script of ${part.build} ...`,
    );
    const { ok, said, ended } = await npm(
      ['rebuild', part.build, '--ignore-scripts=false', '--foreground-scripts', '--loglevel=error'],
      { limitMs: REBUILD_LIMIT_MS, quiet: true },
    );
    if (ok) continue;
    const lines = said.trim().split('\n').slice(-6);
    tell(`${part.build} could not be built (${ended}):\n  ${lines.join('\n  ')}`);
  }
  return unbuilt.length > 0 ? probeParts() : states;
}

/**
 * Makes node_modules what package-lock.json asks for, native parts included; at once when it already is.
 * Tells on stderr what it does and which optional parts this machine lacks. Throws `Advice` when the
 * project cannot run.
 */
export async function ensureInstalled() {
  checkNode();
  const wanted = fingerprint();
  const marker = readJson(MARKER);
  if (sameFingerprint(marker, wanted) && treeMatchesLock()) return;
  if (!treeMatchesLock()) await install();

  const states = await buildHeldBack(await probeParts());
  for (const line of describeMissing(states)) tell(line);
  const broken = states
    .filter(({ part, state }) => part.required && state !== 'ready')
    .map(({ part }) => part.name);
  if (broken.length > 0) throw new Advice(`without ${broken.join(', ')} the project cannot run.`);
  if (packageDirectory('esbuild') === undefined)
    throw new Advice('esbuild is missing after npm ci: remove node_modules and try again.');

  const text = JSON.stringify({
    ...wanted,
    parts: Object.fromEntries(states.map((s) => [s.part.name, s.state])),
  });
  writeFileSync(`${MARKER}.tmp`, `${text}\n`);
  renameSync(`${MARKER}.tmp`, MARKER);
}

/** Runs a script's main function; what a person has to solve is printed without a stack, exit code 1. */
export async function runScript(main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    if (!(error instanceof Advice)) throw error;
    tell(error.message);
    process.exitCode = 1;
  }
}
