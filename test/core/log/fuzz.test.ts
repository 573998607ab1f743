import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzz, fuzzDecoder, run, type Target } from '../../../scripts/fuzz/fuzz.ts';
import { LOG_TARGETS } from '../../../scripts/fuzz/log-targets.ts';
import { PROOF_TARGETS } from '../../../scripts/fuzz/proof-targets.ts';

/** A decoder that hangs is stopped here, whatever the machine. */
const HANG_MS = 120_000;

for (const target of LOG_TARGETS) {
  test(`${target.name}: changed bytes are refused, or are what their meaning is written as`, {
    timeout: HANG_MS,
  }, () => {
    const { finding, accepted } = fuzz(target, { seed: 1, cases: 5000 });
    assert.equal(finding, undefined);
    assert.ok(accepted > 0, 'no change was taken: the changes are too coarse to reach anything');
  });
}

for (const target of PROOF_TARGETS) {
  test(`${target.name}: nothing untrue is believed`, { timeout: HANG_MS }, () => {
    const { finding, accepted } = fuzz(target, { seed: 2, cases: 2000 });
    assert.equal(finding, undefined);
    assert.ok(accepted > 0, 'no change was taken: the changes are too coarse to reach anything');
  });
}

test('what the fuzzer looks for, it finds', { timeout: HANG_MS }, () => {
  const seeds = ['12:abc', '0:', '7:abcdefg'];
  const read = (input: Uint8Array) => {
    const [count, rest] = Buffer.from(input).toString('latin1').split(':');
    if (!/^[0-9]+$/.test(count ?? '') || rest === undefined) throw new Error('malformed');
    return { count: Number(count), rest };
  };
  const write = ({ count, rest }: ReturnType<typeof read>) => Buffer.from(`${count}:${rest}`, 'latin1');
  const held: Uint8Array[] = [];
  const careless: readonly (readonly [Target, RegExp])[] = [
    [fuzzDecoder('leading zeros', read, write, seeds), /is written/],
    [
      fuzzDecoder(
        'a crash',
        (input) => (input.length > 10 ? (undefined as unknown as string[]).map(String) : input),
        (it) => it as Uint8Array,
        seeds,
      ),
      /it threw TypeError/,
    ],
    [
      fuzzDecoder(
        'writes',
        (input) => input.fill(0),
        () => undefined,
        seeds,
      ),
      /wrote to its input/,
    ],
    [
      fuzzDecoder(
        'keeps',
        (input) => {
          held.push(new Uint8Array(1 << 20));
          return input;
        },
        (it) => it,
        ['x'],
      ),
      /bytes more are held/,
    ],
    [
      fuzzDecoder(
        'no seed',
        () => undefined,
        () => undefined,
        seeds,
      ),
      /a seed is refused/,
    ],
    [
      fuzzDecoder(
        'not writable',
        (input) => input,
        (it) => {
          if (it.includes(0)) throw new RangeError('zero');
          return it;
        },
        seeds,
      ),
      /cannot be written/,
    ],
  ];
  for (const [target, why] of careless) {
    const { finding } = fuzz(target, { seed: 3, cases: 400 });
    held.length = 0;
    assert.match(finding?.why ?? 'nothing', why, target.name);
    const input = new Uint8Array(Buffer.from(finding?.hex ?? '', 'hex'));
    if (finding !== undefined && finding.at >= 0 && input.length > 0) {
      assert.match(String(run(target, input)), why, 'the input alone repeats it');
    }
  }
  const slow: Target = {
    name: 'slow',
    seeds: [Uint8Array.of(1)],
    check: () => {
      for (const end = performance.now() + 5; performance.now() < end; );
      return true;
    },
  };
  assert.match(fuzz(slow, { seed: 3, cases: 5, limitMs: 1 }).finding?.why ?? 'nothing', /it took/);
});

test('the same seed gives the same inputs', () => {
  const inputs = (seed: number) => {
    const seen: string[] = [];
    const target = fuzzDecoder(
      'any',
      (input) => seen.push(Buffer.from(input).toString('hex')),
      () => undefined,
      ['abc'],
    );
    fuzz(target, { seed, cases: 200 });
    return seen.join();
  };
  assert.equal(inputs(7), inputs(7));
  assert.notEqual(inputs(7), inputs(8));
});
