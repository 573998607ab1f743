/** Checks what it is given, by whoever it is given to: a directory, an exported file, evidence, a log's URL. */
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { isExport, MAX_EXPORT_BYTES } from '../core/log/export.ts';
import { isListening } from '../services/control/client.ts';
import { exists, readBoundedBytes, replaceFile } from '../state/files.ts';
import { loadAgreement, socketIn } from './settings-file.ts';
import { defineCommand } from './terminal/command.ts';
import { count, plain } from './terminal/human.ts';
import { type Io, printJson } from './terminal/io.ts';
import { problem } from './terminal/problem.ts';
import { createScreen } from './terminal/screen.ts';
import { broken } from './verify/broken.ts';
import { describeBundle, verifyBundle } from './verify/bundle.ts';
import { verifyDirectory } from './verify/directory.ts';
import { describeEvidence, verifyEvidence } from './verify/evidence.ts';
import { type GivenOptions, givenTrust, readGiven } from './verify/given.ts';
import { gatewayNameIn } from './verify/name.ts';
import { describeRemote, type Equivocation, verifyRemote } from './verify/remote.ts';
import type { Line } from './verify/show.ts';
import { describeTlogProof, verifyTlogProofFile } from './verify/tlog-proof.ts';

const USAGE = 2;
const MAX_LEAF = 65_535;
const MAX_SINCE = 2 ** 20;

interface VerifyOptions extends GivenOptions {
  readonly gateway?: string | undefined;
  readonly leaf?: string | undefined;
  readonly since?: string | undefined;
  readonly output?: string | undefined;
  readonly print: boolean;
}

/** What can be verified, and the options that go with it. */
const TARGETS = {
  directory: ['agreement', 'gateway'],
  bundle: ['agreement', 'policy', 'statements', 'print'],
  evidence: ['agreement', 'policy', 'statements'],
  'tlog-proof': ['agreement', 'policy', 'statements', 'leaf', 'print'],
  log: ['agreement', 'policy', 'vkey', 'statements', 'since', 'output'],
} as const satisfies Readonly<Record<string, readonly (keyof VerifyOptions)[]>>;
type TargetKind = keyof typeof TARGETS;

export const verify = defineCommand({
  name: 'verify',
  summary: 'check a directory, an exported file, evidence or a log’s URL: signatures, proofs, cosignatures',
  about:
    'What TARGET is, its contents say. Exit code 0 when all of it holds; 1 and the first broken thing when not. A ' +
    'bundle is judged by the agreement or policy that is given; without one, by the agreement that it carries, whose ' +
    'hash is printed to be compared.',
  arguments: [
    {
      name: 'TARGET',
      about:
        'a gateway’s directory (its daemon must not be running), a file of kosmos export, evidence, an http(s) URL',
    },
  ],
  options: {
    agreement: {
      kind: 'text',
      value: 'FILE',
      about: 'judge by this agreement, which must be signed; for a directory DIR/agreement.toml when absent',
    },
    policy: {
      kind: 'text',
      value: 'FILE',
      about: 'judge logs and witnesses by this policy (C2SP tlog-policy)',
    },
    vkey: {
      kind: 'text',
      value: 'VKEY',
      about: 'judge a URL by the log’s key alone: no witness is asked for',
    },
    statements: { kind: 'text', value: 'FILE', about: 'endorsements and revocations of keys, one a line' },
    gateway: {
      kind: 'text',
      value: 'NAME',
      about: 'the gateway of a directory; as in DIR/card.json when absent',
    },
    leaf: { kind: 'text', value: 'FILE', about: 'the leaf of a tlog-proof; TARGET.leaf when absent' },
    since: {
      kind: 'text',
      value: 'FILE',
      about: 'an older checkpoint of the log at a URL, which it must go on from',
    },
    output: {
      kind: 'text',
      value: 'FILE',
      about: 'where the checkpoint of a URL goes, for --since next time',
    },
    print: {
      kind: 'flag',
      about: 'print the entries that are proven, one JSON object a line; the report to stderr',
    },
  },
  examples: [
    'verify /var/lib/kosmos',
    'verify march-1.kosmos --agreement agreement.toml --print',
    'verify sample.tlog-proof --agreement agreement.toml',
    'verify https://log.example/ --agreement agreement.toml --since checkpoint --output checkpoint',
  ],
  async run({ options, positionals, json }, io) {
    const target = positionals[0]!;
    const { kind, file } = await recognise(target);
    assertFits(kind, options);
    const report = await check(kind, target, file, options, io);
    if (json) printJson(io, { ok: true, ...report.value });
    else (options.print ? io.stderr : io.stdout).write(`${report.words.map(plain).join('\n')}\n`);
    return 0;
  },
});

interface Report {
  readonly value: object;
  readonly words: readonly string[];
}

async function recognise(target: string): Promise<{ readonly kind: TargetKind; readonly file: Uint8Array }> {
  const none = new Uint8Array(0);
  if (/^https?:\/\//.test(target)) return { kind: 'log', file: none };
  const path = resolve(target);
  if (!(await exists(path))) throw problem('there is no such directory or file', { where: path });
  if ((await stat(path)).isDirectory()) return { kind: 'directory', file: none };
  const file = await readBoundedBytes(path, MAX_EXPORT_BYTES);
  const kind = kindOfFile(file);
  if (kind) return { kind, file };
  throw problem('it is neither a bundle nor a tlog-proof nor evidence', {
    where: path,
    todo: 'if it was one, its first bytes are damaged',
  });
}

function kindOfFile(file: Uint8Array): TargetKind | undefined {
  if (isExport(file)) return 'bundle';
  const start = new TextDecoder().decode(file.subarray(0, 64));
  if (start.startsWith('kosmos/equivocation/v1\n')) return 'evidence';
  return start.startsWith('c2sp.org/tlog-proof@v1\n') ? 'tlog-proof' : undefined;
}

/** An option that would be without effect is wrong use. */
function assertFits(kind: TargetKind, options: VerifyOptions): void {
  const allowed: readonly string[] = TARGETS[kind];
  for (const name of new Set(Object.values(TARGETS).flat())) {
    const value = options[name];
    if (value === undefined || value === false || allowed.includes(name)) continue;
    throw problem(`--${name} does not go with a ${kind}`, {
      todo: `a ${kind} takes ${allowed.map((one) => `--${one}`).join(', ')}`,
      exitCode: USAGE,
    });
  }
}

async function check(
  kind: TargetKind,
  target: string,
  file: Uint8Array,
  options: VerifyOptions,
  io: Io,
): Promise<Report> {
  if (kind === 'directory') return checkDirectory(resolve(target), options, io);
  const given = await readGiven(options);
  const print = options.print ? (line: Line) => printJson(io, line) : undefined;
  if (kind === 'bundle') {
    const value = verifyBundle(file, given, print);
    return { value, words: describeBundle(value) };
  }
  const trust = givenTrust(given);
  if (kind === 'evidence') {
    const value = verifyEvidence(file, trust);
    return { value, words: describeEvidence(value) };
  }
  if (!trust) {
    throw problem('by whose word?', {
      todo: `give ${kind === 'log' ? '--agreement FILE, --policy FILE or --vkey VKEY' : '--agreement FILE or --policy FILE'}`,
      exitCode: USAGE,
    });
  }
  if (kind === 'tlog-proof') {
    const leaf = await leafFile(target, options.leaf);
    const value = verifyTlogProofFile(file, leaf, trust);
    if (value.entry) print?.(value.entry);
    return { value, words: describeTlogProof(value) };
  }
  const since = options.since === undefined ? undefined : await readBoundedBytes(options.since, MAX_SINCE);
  const screen = createScreen(io.stderr);
  const progress = (done: number, of: number) => {
    const line = `checking leaf ${count(done)} of ${count(of)}`;
    screen.draw({ lines: [line], summary: line });
  };
  const { report, note } = await verifyRemote(target, { trust, since, progress })
    .catch((error: Error) => convict(error, options.since!))
    .finally(() => screen.close());
  if (options.output !== undefined) await replaceFile(resolve(options.output), note);
  return { value: report, words: describeRemote(report) };
}

/** Two views that contradict each other are worth a file. */
async function convict(error: Error | Equivocation, since: string): Promise<never> {
  if (!('evidence' in error) || error.evidence === undefined) throw error;
  const path = `${resolve(since)}.evidence`;
  await replaceFile(path, error.evidence);
  throw Object.assign(broken(`${error.message}; the evidence is in ${path}: keep it, and hand it on`), {
    cause: error,
  });
}

async function leafFile(target: string, named: string | undefined): Promise<Uint8Array | undefined> {
  const path = resolve(named ?? `${target}.leaf`);
  if (named === undefined && !(await exists(path))) return undefined;
  return new Uint8Array(await readBoundedBytes(path, MAX_LEAF));
}

async function checkDirectory(directory: string, options: VerifyOptions, io: Io): Promise<Report> {
  if (await isListening(socketIn(directory))) {
    throw problem('its daemon is running', { where: directory, todo: 'stop it first, or verify a copy' });
  }
  const agreement = await loadAgreement(options.agreement ?? join(directory, 'agreement.toml'));
  const gateway = options.gateway ?? (await gatewayNameIn(directory, 'give --gateway NAME'));
  const screen = createScreen(io.stderr);
  const report = await verifyDirectory(directory, agreement, gateway, (done, of) => {
    const line = `checking block ${count(done)} of ${count(of)}`;
    screen.draw({ lines: [line], summary: line });
  }).finally(() => screen.close());
  const words =
    `${gateway} holds: ${count(report.entries)} entries (${count(report.samples)} samples) in ${count(report.blocks)} blocks, ` +
    `${count(report.signatures)} signatures, ${count(report.checkpoints)} checkpoints with ${count(report.cosignatures)} cosignatures, final up to ${count(report.finalSize)}`;
  const rooms =
    `of others: ${count(report.mirroredLeaves)} leaves of ${count(report.mirrors)} mirrored logs, heads of ${count(report.witnessed)} logs, ` +
    `${count(report.deposits)} charges, ${count(report.statements)} statements about keys, ${count(report.evidence)} pieces of evidence`;
  const left = [
    ...(report.incompleteMirrors > 0
      ? [`${count(report.incompleteMirrors)} mirrors that lack records since the journal was damaged`]
      : []),
    ...(report.foreignCosignatures > 0
      ? [`${count(report.foreignCosignatures)} cosignatures of witnesses from outside the consortium`]
      : []),
    ...(report.outside > 0
      ? [`${count(report.outside)} records about gateways, logs or epochs that the agreement does not name`]
      : []),
  ];
  const unjudged = left.length > 0 ? [`not judged: ${left.join(', ')}`] : [];
  return { value: report, words: [words, rooms, ...unjudged] };
}
