import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's own directory, also when it is installed below somebody else's node_modules. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

const PROBE_LIMIT_MS = 30_000;

/**
 * The parts with compiled code. `load`: what must load for the part to work; `build`: the package whose
 * install script makes the compiled code; `without`: what a machine lacks when the part is absent.
 */
export const PARTS = [
  {
    name: 'classic-level',
    required: true,
    load: ['level'],
    build: 'classic-level',
    without: 'the journal cannot be opened, so no gateway can run',
  },
  {
    name: 'i2c-bus',
    required: false,
    load: ['i2c-bus'],
    build: 'i2c-bus',
    without: 'sensors on a real I2C bus cannot be read (simulated machines and recorded data can)',
  },
  {
    name: 'onoff',
    required: false,
    load: ['onoff'],
    build: 'epoll',
    without: 'GPIO lines cannot be watched (simulated contacts can)',
  },
  {
    name: 'johnny-five',
    required: false,
    load: ['johnny-five', '@serialport/bindings'],
    build: '@serialport/bindings',
    without: 'boards behind a serial line (Firmata) cannot be used',
  },
  {
    name: '@tensorflow/tfjs-node',
    required: false,
    load: ['@tensorflow/tfjs-node'],
    build: '@tensorflow/tfjs-node',
    without: 'training runs on the WebAssembly backend instead',
  },
];

const require = createRequire(join(ROOT, 'package.json'));

/** The directory of an installed package, or undefined. Works without loading it, whatever it exports. */
export function packageDirectory(name) {
  for (const directory of require.resolve.paths(name) ?? []) {
    const candidate = join(directory, name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
  }
  return undefined;
}

/** Loads `names` in a process of its own, since a broken native part may take its process with it. */
function loads(names) {
  const program = `for (const name of ${JSON.stringify(names)}) require(name); process.exit(0)`;
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['-e', program], {
      cwd: ROOT,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '', TF_CPP_MIN_LOG_LEVEL: '3' },
      timeout: PROBE_LIMIT_MS,
      killSignal: 'SIGKILL',
    });
    let said = '';
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text) => {
      said = (said + text).slice(-8_000);
    });
    child.on('error', (error) => resolve({ ok: false, reason: error.message }));
    child.on('close', (code, signal) => {
      if (code === 0) return resolve({ ok: true, reason: '' });
      const line = said
        .split('\n')
        .find((text) => /^\w*Error\b.*:/.test(text))
        ?.trim();
      resolve({ ok: false, reason: line ?? `loading it ended with ${signal ?? `exit code ${code}`}` });
    });
  });
}

/**
 * The state of one part: 'ready', 'unbuilt' (installed, but its compiled code does not load) or 'absent'
 * (npm left it out: it could not be fetched or built here, or optional parts were not asked for).
 */
export async function probePart(part) {
  if (packageDirectory(part.name) === undefined || packageDirectory(part.build) === undefined) {
    return { part, state: 'absent', reason: 'npm has left it out' };
  }
  const { ok, reason } = await loads(part.load);
  return { part, state: ok ? 'ready' : 'unbuilt', reason };
}

/** The state of every part. */
export function probeParts() {
  return Promise.all(PARTS.map(probePart));
}

/** What to tell about the parts that are not ready; no lines when all are. */
export function describeMissing(states) {
  const lines = [];
  for (const { part, state, reason } of states) {
    if (state === 'ready') continue;
    const kind = part.required ? 'REQUIRED part' : 'optional part';
    const what = state === 'absent' ? 'is not installed' : `is installed but does not load (${reason})`;
    lines.push(`${kind} ${part.name} ${what}: ${part.without}.`);
  }
  if (lines.some((line) => line.includes('does not load'))) {
    lines.push('To build what does not load: npm rebuild --ignore-scripts=false --foreground-scripts NAME');
  }
  return lines;
}
