/**
 * Feeds every decoder of bytes from outside changed inputs, for as long as it is told:
 *
 *     node --import tsx scripts/fuzz/main.ts [--minutes N] [--only NAME] [--seed N] [--list]
 *     node --import tsx scripts/fuzz/main.ts --only NAME --input HEX
 *
 * Exit code 1 if anything was found; what was found is printed as the command that repeats it.
 */
import { parseArgs } from 'node:util';
import { AGGREGATION_TARGETS } from './aggregation-targets.ts';
import { ENCODING_TARGETS } from './encoding-targets.ts';
import { type Finding, fuzz, run, type Target } from './fuzz.ts';
import { LOG_TARGETS } from './log-targets.ts';
import { PROOF_TARGETS } from './proof-targets.ts';

const TARGETS = [...ENCODING_TARGETS, ...LOG_TARGETS, ...PROOF_TARGETS, ...AGGREGATION_TARGETS];
/** Cases of one target before the next has its turn. */
const TURN = 5000;
/** No decoder here has work for so long, with inputs of at most 64 KiB. */
const LIMIT_MS = 2000;
const PROGRESS_MS = 10_000;

interface Tally {
  cases: number;
  accepted: number;
  slowestMs: number;
}

function usage(message: string): never {
  process.stderr.write(`fuzz: ${message}\n`);
  process.exit(2);
}

function numberOf(text: string | undefined, name: string, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  return value >= 0 ? value : usage(`--${name} takes a number, not ${text}`);
}

function report({ target, why, hex, seed, at }: Finding): void {
  const where = at < 0 ? 'a seed' : `seed ${seed}, case ${at}`;
  process.stdout.write(`\nfound in ${target} (${where}): ${why}\n`);
  if (hex !== '') {
    process.stdout.write(`  node --import tsx scripts/fuzz/main.ts --only '${target}' --input ${hex}\n`);
  }
}

function repeat(targets: readonly Target[], hex: string): number {
  const [target, ...more] = targets;
  if (target === undefined || more.length > 0) usage('--input needs --only with the name of one target');
  const verdict = run(target, new Uint8Array(Buffer.from(hex, 'hex')));
  const word = verdict === true ? 'taken, and in order' : verdict === false ? 'refused' : verdict;
  process.stdout.write(`${target.name}: ${word}\n`);
  return typeof verdict === 'string' ? 1 : 0;
}

function main(): number {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string' },
      only: { type: 'string' },
      seed: { type: 'string' },
      input: { type: 'string' },
      list: { type: 'boolean' },
    },
  });
  const targets = TARGETS.filter(({ name }) => values.only === undefined || name === values.only);
  if (values.list) process.stdout.write(TARGETS.map(({ name }) => `${name}\n`).join(''));
  if (targets.length === 0) usage(`no target is named ${values.only}: see --list`);
  if (values.list) return 0;
  if (values.input !== undefined) return repeat(targets, values.input);

  const first = numberOf(values.seed, 'seed', Date.now() % 2 ** 32);
  const until = performance.now() + 60_000 * numberOf(values.minutes, 'minutes', 10);
  const tallies = new Map<string, Tally>();
  const findings = new Map<string, Finding>();
  let shown = performance.now();
  for (let turn = 0; performance.now() < until && findings.size < targets.length; turn++) {
    for (const target of targets) {
      // Of a decoder that is broken one case is enough; the others go on.
      if (findings.has(target.name)) continue;
      const options = { cases: TURN, limitMs: LIMIT_MS, stop: () => performance.now() >= until };
      const fuzzed = fuzz(target, { ...options, seed: (first + turn) % 2 ** 32 });
      const tally = tallies.get(target.name) ?? { cases: 0, accepted: 0, slowestMs: 0 };
      tally.cases += fuzzed.cases;
      tally.accepted += fuzzed.accepted;
      tally.slowestMs = Math.max(tally.slowestMs, fuzzed.slowestMs);
      tallies.set(target.name, tally);
      if (fuzzed.finding !== undefined) {
        findings.set(target.name, fuzzed.finding);
        report(fuzzed.finding);
      }
      if (performance.now() - shown > PROGRESS_MS) {
        shown = performance.now();
        const cases = [...tallies.values()].reduce((sum, one) => sum + one.cases, 0);
        const heap = Math.round(process.memoryUsage().rss / 2 ** 20);
        process.stderr.write(`fuzz: ${cases} cases, ${findings.size} found, turn ${turn + 1}, ${heap} MiB\n`);
      }
    }
  }
  for (const [name, { cases, accepted, slowestMs }] of tallies) {
    const figures = `${cases} cases, ${accepted} taken, slowest ${slowestMs.toFixed(1)} ms`;
    process.stdout.write(`${name.padEnd(18)} ${figures}${findings.has(name) ? ', BROKEN' : ''}\n`);
  }
  process.stdout.write(`seed ${first}: ${findings.size === 0 ? 'nothing' : `${findings.size}`} found\n`);
  return findings.size === 0 ? 0 : 1;
}

process.exitCode = main();
