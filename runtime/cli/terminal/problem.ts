import { plain } from './human.ts';
import type { Environment } from './io.ts';

/** An error with what a person needs: where it is and what to do. */
export interface Problem extends Error {
  readonly isProblem: true;
  readonly where: string | undefined;
  readonly todo: string | undefined;
  /** 1: it did not work; 2: the command or a file of settings is wrong. */
  readonly exitCode: number;
}

export interface ProblemDetails {
  /** A file, an address, a machine. */
  readonly where?: string;
  /** What the reader can do about it. */
  readonly todo?: string;
  readonly exitCode?: number;
  readonly cause?: unknown;
}

/** An error to throw from a command: it is printed without a stack. */
export function problem(what: string, details: ProblemDetails = {}): Problem {
  const { where, todo, exitCode = 1, cause } = details;
  return Object.assign(new Error(what, { cause }), { isProblem: true as const, where, todo, exitCode });
}

/** Tells a `Problem` from any other thing that was thrown. */
export function isProblem(error: unknown): error is Problem {
  return error instanceof Error && 'isProblem' in error && error.isProblem === true;
}

/** What the operating system's errors mean to somebody who runs a gateway. */
const SYSTEM: Readonly<Record<string, readonly [what: string, todo: string]>> = {
  EACCES: ['permission is denied', 'run it as the user who owns it, or change its owner or mode'],
  EADDRINUSE: ['the address is in use', 'stop what listens there, or choose another port'],
  EADDRNOTAVAIL: ['this machine has no such address', 'listen on an address of this machine, or on 0.0.0.0'],
  ECONNREFUSED: ['nothing accepts connections there', 'is the other side running, and the address right?'],
  ECONNRESET: ['the other side closed the connection', 'look at its log'],
  EHOSTUNREACH: ['the host cannot be reached', 'check the network and the address'],
  EISDIR: ['it is a directory', 'name a file in it'],
  EMFILE: ['too many files are open', 'raise LimitNOFILE of the service, or ulimit -n'],
  ENOENT: ['there is no such file or directory', 'check the path'],
  ENOSPC: ['the disk is full', 'make room; what is acknowledged is not lost'],
  ENOTDIR: ['a part of the path is not a directory', 'check the path'],
  ENOTFOUND: ['the name is not known', 'check the spelling and the name server'],
  EPERM: ['the operation is not permitted', 'run it as a user who may'],
  EROFS: ['the file system is read-only', 'choose another directory, or mount it writable'],
  ETIMEDOUT: ['there was no answer in time', 'check the network and the address'],
};

/** What a person needs of an error; JSON for a program has the same fields. */
export interface Described {
  readonly what: string;
  readonly where?: string;
  readonly todo?: string;
}

/** What went wrong, where and what to do, of anything that was thrown. */
export function explain(error: unknown): Described {
  if (!(error instanceof Error)) return { what: String(error) };
  if (isProblem(error)) return described(error.message, error.where, error.todo);
  const system = systemError(error);
  const known = system.code === undefined ? undefined : SYSTEM[system.code];
  if (known === undefined) return described(error.message || error.name, system.where, undefined);
  return described(known[0], system.where, known[1]);
}

function described(what: string, where: string | undefined, todo: string | undefined): Described {
  return { what, ...(where === undefined ? {} : { where }), ...(todo === undefined ? {} : { todo }) };
}

function systemError(error: Error): {
  readonly code: string | undefined;
  readonly where: string | undefined;
} {
  const fields = error as {
    code?: unknown;
    path?: unknown;
    address?: unknown;
    hostname?: unknown;
    port?: unknown;
  };
  const code = typeof fields.code === 'string' ? fields.code : undefined;
  const host = fields.address ?? fields.hostname;
  if (typeof fields.path === 'string') return { code, where: fields.path };
  if (typeof host !== 'string') return { code, where: undefined };
  const address = host.includes(':') ? `[${host}]` : host;
  return { code, where: fields.port === undefined ? host : `${address}:${String(fields.port)}` };
}

/** An error that only a mistake in the program makes; the others say themselves what to do. */
function isMistake(error: unknown): boolean {
  return !(error instanceof Error) || error instanceof TypeError || error instanceof ReferenceError;
}

/** An error as text for people; with KOSMOS_DEBUG set, the stack and every cause behind it. */
export function describeError(error: unknown, env: Environment): string {
  const { what, where, todo } = explain(error);
  // What a file or a peer says may be quoted in it; its lines stay lines.
  const safe = (text: string) => text.split('\n').map(plain).join('\n');
  const lines = [safe(where === undefined ? what : `${where}: ${what}`)];
  if (todo !== undefined) lines.push(safe(`  ${todo}`));
  if ((env.KOSMOS_DEBUG ?? '') !== '') {
    let cause: unknown = error;
    // A bound, since causes could form a circle.
    for (let depth = 0; cause instanceof Error && depth < 10; depth++) {
      lines.push('', cause.stack ?? String(cause));
      cause = cause.cause;
    }
  } else if (isMistake(error)) {
    lines.push('  KOSMOS_DEBUG=1 shows where in the program this happened');
  }
  return lines.join('\n');
}
