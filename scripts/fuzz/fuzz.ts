import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { mutate, mutateCbor } from './mutate.ts';
import { createRandom, type Random } from './random.ts';

/** A decoder of bytes from outside, and what must hold for it. */
export interface Target {
  readonly name: string;
  /** Inputs that it takes; changes begin with these. */
  readonly seeds: readonly Uint8Array[];
  /**
   * Decodes `input`: gives false where it refuses it without an error, true where it takes it. It throws the
   * decoder's own error where the decoder does, and calls `broken` where a rule is.
   */
  check(input: Uint8Array, broken: (why: string) => never): boolean;
  /** Names of the errors by which it refuses, where they are not `Error` and `DecodeError`. */
  readonly refusals?: readonly string[];
}

/** An input that breaks a rule; `hex` alone repeats it. */
export interface Finding {
  readonly target: string;
  readonly why: string;
  readonly hex: string;
  readonly seed: number;
  readonly at: number;
}

export interface Fuzzed {
  readonly cases: number;
  readonly accepted: number;
  readonly slowestMs: number;
  readonly finding?: Finding;
}

export interface FuzzOptions {
  readonly seed: number;
  readonly cases: number;
  /** A case that takes longer is a finding; none in tests, which assert no times. */
  readonly limitMs?: number;
  /** Asked before each case. */
  readonly stop?: () => boolean;
}

/** Inputs that were taken and not seen before, to begin further changes with. */
const MAX_CORPUS = 200;
const MAX_INPUT_BYTES = 65_536;
const MAX_GROWTH_BYTES = 64 * 2 ** 20;

/** What V8 says when code, not input, is at fault; some decoders put their errors' messages into others. */
const SLIP =
  /is not a function|Cannot read|Cannot convert|is not iterable|Maximum call stack|Invalid (array|typed array|string) length|out of memory|of undefined|of null/;

class Broken extends Error {}

/**
 * Decoder, encoder and seeds as a target: what is taken must be what its value is written as, byte for byte.
 * A decoder that refuses by giving undefined, and an encoder of text, are fine.
 */
export function fuzzDecoder<T>(
  name: string,
  decode: (input: Uint8Array) => T | undefined,
  encode: (value: T) => Uint8Array | string | undefined,
  seeds: readonly (Uint8Array | string)[],
): Target {
  return {
    name,
    seeds: seeds.map((seed) => (typeof seed === 'string' ? new TextEncoder().encode(seed) : seed)),
    check(input, broken) {
      const value = decode(input);
      if (value === undefined) return false;
      let written: Uint8Array | string | undefined;
      try {
        written = encode(value);
      } catch (error) {
        return broken(`it was taken, but cannot be written: ${String(error)}`);
      }
      if (written === undefined) return true;
      const bytes = typeof written === 'string' ? new TextEncoder().encode(written) : written;
      return Buffer.compare(bytes, input) === 0 || broken(`it was taken, but is written ${hexOf(bytes)}`);
    },
  };
}

/** Feeds a target changed seeds. The same seed gives the same inputs. */
export function fuzz(target: Target, { seed, cases, limitMs, stop }: FuzzOptions): Fuzzed {
  const random = createRandom(seed);
  const corpus = [...target.seeds];
  let accepted = 0;
  let slowestMs = 0;
  let before = 0;
  const found = (input: Uint8Array, at: number, why: string): Fuzzed => ({
    ...{ cases: at + 1, accepted, slowestMs },
    finding: { target: target.name, why, hex: hexOf(input), seed, at },
  });
  for (const one of target.seeds) {
    const verdict = run(target, one);
    if (verdict !== true) return found(one, -1, `a seed is refused: ${String(verdict)}`);
  }
  let at = 0;
  for (; at < cases && stop?.() !== true; at++) {
    // When things have settled, what is held is measured; at the end, again.
    if (at === Math.floor(cases / 4)) before = heldBytes();
    const input = nextInput(corpus, random);
    const started = performance.now();
    const verdict = run(target, input);
    const ms = performance.now() - started;
    slowestMs = Math.max(slowestMs, ms);
    if (typeof verdict === 'string') return found(input, at, verdict);
    if (limitMs !== undefined && ms > limitMs) return found(input, at, `it took ${Math.round(ms)} ms`);
    if (!verdict) continue;
    accepted++;
    if (corpus.length < MAX_CORPUS) corpus.push(input);
    else corpus[target.seeds.length + random.below(MAX_CORPUS - target.seeds.length)] = input;
  }
  const grown = before === 0 ? 0 : heldBytes() - before;
  if (grown > MAX_GROWTH_BYTES)
    return found(new Uint8Array(0), at, `${grown} bytes more are held than before`);
  return { cases: at, accepted, slowestMs };
}

/** Whether an input is taken, or what is wrong with how the decoder behaved. */
export function run(target: Target, input: Uint8Array): boolean | string {
  const given = new Uint8Array(input);
  try {
    const taken = target.check(given, (why) => {
      throw new Broken(why);
    });
    return Buffer.compare(given, input) === 0 ? taken : 'the decoder wrote to its input';
  } catch (error) {
    if (error instanceof Broken) return error.message;
    return isRefusal(error, target.refusals) ? false : `it threw ${String((error as Error)?.stack ?? error)}`;
  }
}

/** Whether an error is one that a decoder throws for bytes that it does not like. */
function isRefusal(error: unknown, names: readonly string[] = ['Error', 'DecodeError']): boolean {
  return error instanceof Error && names.includes(error.name) && !SLIP.test(error.message);
}

function nextInput(corpus: readonly Uint8Array[], random: Random): Uint8Array {
  const input = random.pick(corpus);
  const other = random.pick(corpus);
  const meant = random.below(3) === 0 ? mutateCbor(input, other, random) : undefined;
  return meant !== undefined && meant.length <= MAX_INPUT_BYTES
    ? meant
    : mutate(input, other, random, MAX_INPUT_BYTES);
}

let collect: (() => void) | undefined;

function heldBytes(): number {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
