/** The Go programs of this directory and litewitness: built into a temporary directory, run with a time limit. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';

const LITEWITNESS = 'filippo.io/torchwood/cmd/litewitness@v0.9.0';
const BUILD_LIMIT_MS = 10 * 60_000;
const RUN_LIMIT_MS = 3 * 60_000;

export interface Ran {
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Tools {
  /** Runs a subcommand of interop. @throws Error with what it wrote when it fails. */
  interop(...args: readonly string[]): Promise<string>;
  /** Starts a program that runs on; resolves with the first match in what it writes. */
  start(program: 'interop' | 'litewitness', args: readonly string[], until: RegExp): Promise<RegExpExecArray>;
  /** Ends what was started. */
  end(): Promise<void>;
}

export async function buildTools(directory: string): Promise<Tools> {
  const source = join(import.meta.dirname, 'go');
  const env = { ...process.env, GOBIN: directory, GOFLAGS: '-mod=readonly' };
  const built = await run('go', ['build', '-o', join(directory, 'interop'), '.'], { cwd: source, env });
  if (!built.ok) throw new Error(`go build: ${built.stderr}`);
  const installed = await run('go', ['install', LITEWITNESS], {
    cwd: directory,
    env: { ...env, GOFLAGS: '' },
  });
  if (!installed.ok) throw new Error(`go install ${LITEWITNESS}: ${installed.stderr}`);
  const started: ChildProcess[] = [];

  return {
    async interop(...args) {
      const ran = await run(join(directory, 'interop'), args, { limitMs: RUN_LIMIT_MS });
      if (!ran.ok) throw new Error(`interop ${args[0]}: ${ran.stderr.trim()}`);
      return ran.stdout.trim();
    },
    start(program, args, until) {
      const child = spawn(join(directory, program), args, { stdio: ['ignore', 'pipe', 'pipe'] });
      started.push(child);
      return new Promise((resolve, reject) => {
        let said = '';
        const timer = setTimeout(() => reject(new Error(`${program} says only: ${said}`)), 20_000);
        const listen = (text: string) => {
          said = (said + text).slice(-10_000);
          const match = until.exec(said);
          if (!match) return;
          clearTimeout(timer);
          resolve(match);
        };
        child.stdout.setEncoding('utf8').on('data', listen);
        child.stderr.setEncoding('utf8').on('data', listen);
        child.once('error', reject);
        child.once('close', () => reject(new Error(`${program} has ended: ${said}`)));
      });
    },
    async end() {
      await Promise.all(
        started.map((child) => {
          if (child.exitCode !== null || child.signalCode !== null) return undefined;
          const ended = new Promise((resolve) => child.once('close', resolve));
          child.kill('SIGKILL');
          return ended;
        }),
      );
    },
  };
}

interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly limitMs?: number;
}

function run(program: string, args: readonly string[], options: RunOptions): Promise<Ran> {
  const { limitMs = BUILD_LIMIT_MS, ...rest } = options;
  return new Promise((resolve) => {
    const child = spawn(program, args, { ...rest, stdio: ['ignore', 'pipe', 'pipe'], timeout: limitMs });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', (error) => resolve({ ok: false, stdout, stderr: error.message }));
    child.once('close', (code, signal) =>
      resolve({ ok: code === 0, stdout, stderr: signal ? `${stderr}\nkilled by ${signal}` : stderr }),
    );
  });
}
