import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { cosign, createCosigner } from '../../../runtime/core/log/cosignature.ts';
import { cosignedTime } from '../../../runtime/core/log/cosigned-time.ts';
import {
  createNoteSigner,
  formatNote,
  type NoteSignature,
  signNote,
} from '../../../runtime/core/log/note.ts';
import {
  consortiumPolicy,
  evaluatePolicy,
  faults,
  formatPolicy,
  isQuorum,
  parsePolicy,
  quorum,
} from '../../../runtime/core/log/policy.ts';
import { signerOf } from './keys.ts';

const LOG = createNoteSigner('example.com/log', signerOf(1));
const TEXT = formatCheckpoint({
  origin: LOG.name,
  size: 9,
  root: new Uint8Array(32).fill(9),
  extensions: [],
});
const witnesses = Array.from({ length: 10 }, (_, i) =>
  createCosigner(`w${i}.example/witness`, signerOf(10 + i)),
);

function policyOf(n: number) {
  return consortiumPolicy(
    [LOG.vkey],
    witnesses.slice(0, n).map(({ vkey }, i) => ({ name: `member-${i}`, witnesses: [vkey] })),
  );
}

function noteWith(signatures: readonly NoteSignature[]): string {
  return formatNote({ text: TEXT, signatures: [...signNote(TEXT, [LOG]).signatures, ...signatures] });
}

/** The checkpoint cosigned by each member at its time; undefined is none. */
function noteAt(times: readonly (number | undefined)[]): string {
  return noteWith(
    times.flatMap((time, i) => (time === undefined ? [] : [cosign(witnesses[i]!, TEXT, time)])),
  );
}

for (const n of [3, 4, 7]) {
  const q = quorum(n);
  const f = faults(n);
  const times = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: n, maxLength: n });

  test(`${n} members: the time of the ${q}th cosignature, in whatever order they stand`, () => {
    fc.assert(
      fc.property(times, fc.shuffledSubarray(Array.from({ length: n }, (_, i) => i)), (at, present) => {
        const note = noteWith(present.map((i) => cosign(witnesses[i]!, TEXT, at[i]!)));
        const sorted = present.map((i) => at[i]!).sort((a, b) => a - b);
        assert.equal(cosignedTime(policyOf(n), note), sorted[q - 1]);
      }),
      { numRuns: 60 },
    );
  });

  test(`${n} members, ${f} liars: no early claim dates a checkpoint before an honest member saw it`, () => {
    fc.assert(
      fc.property(times, (at) => {
        const honest = at.slice(f).map((time) => 1000 + time);
        const early = cosignedTime(policyOf(n), noteAt([...Array<number>(f).fill(1), ...honest]))!;
        const sorted = [...honest].sort((a, b) => a - b);
        assert.equal(early, sorted[q - f - 1], 'q - f honest members had seen it');
        assert.ok(early >= sorted[0]!);
      }),
      { numRuns: 40 },
    );
  });

  test(`${n} members, ${f} liars: a late claim or none at all`, () => {
    fc.assert(
      fc.property(times, fc.option(fc.constant(2 ** 50), { nil: undefined }), (at, claim) => {
        const honest = at.slice(f);
        const late = cosignedTime(
          policyOf(n),
          noteAt([...Array<number | undefined>(f).fill(claim), ...honest]),
        );
        const sorted = [...honest].sort((a, b) => a - b);
        // Of three all must cosign: a liar delays, which is to the log's harm, and forges nothing.
        assert.equal(late, n - f >= q ? sorted[q - 1] : claim);
      }),
      { numRuns: 40 },
    );
  });
}

test('it is the least time at which the policy is satisfied, and less is not enough', () => {
  const policy = policyOf(7);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 5, maxLength: 7 }), (at) => {
      const time = cosignedTime(policy, noteAt(at))!;
      const upTo = (limit: number) =>
        new Set(at.flatMap((one, i) => (one <= limit ? [witnesses[i]!.vkey.name] : [])));
      assert.ok(isQuorum(policy, upTo(time)));
      assert.ok(!isQuorum(policy, upTo(time - 1)));
    }),
  );
});

test('no time: too few, forged, of another log, no quorum asked for, a time of zero', () => {
  const policy = policyOf(4);
  assert.equal(cosignedTime(policy, noteAt([5, 6])), undefined);
  assert.equal(cosignedTime(policy, noteAt([5, 6, 7])), 7);
  const forged = cosign(witnesses[2]!, TEXT, 7);
  forged.signature[20]! ^= 1;
  assert.equal(cosignedTime(policy, noteWith([cosign(witnesses[0]!, TEXT, 5), forged])), undefined);
  assert.equal(cosignedTime(policy, 'nonsense'), undefined);
  const other = createNoteSigner('example.com/other', signerOf(2));
  assert.equal(cosignedTime({ ...policy, logs: [{ vkey: other.vkey }] }, noteAt([5, 6, 7])), undefined);
  assert.equal(cosignedTime({ ...policy, quorum: 'none' }, noteAt([5, 6, 7])), undefined);
  const { scheme, vkey } = witnesses[2]!;
  const zero = new Uint8Array(72);
  zero.set(witnesses[2]!.sign(scheme.message(vkey.name, 0, TEXT)), 8);
  const note = noteWith([
    cosign(witnesses[0]!, TEXT, 5),
    cosign(witnesses[1]!, TEXT, 6),
    { name: vkey.name, keyId: vkey.keyId, signature: zero },
  ]);
  assert.equal(evaluatePolicy(policy, note).kind, 'satisfied');
  assert.equal(cosignedTime(policy, note), undefined, 'a cosignature that claims no time');
});

test('a cosignature that is not to count does not', () => {
  const counts = ({ witness, time }: { witness: string; time: number }) =>
    witness !== witnesses[0]!.vkey.name || time <= 4;
  assert.equal(cosignedTime(policyOf(4), noteAt([5, 6, 7, 9]), { counts }), 9);
  assert.equal(cosignedTime(policyOf(4), noteAt([4, 6, 7, 9]), { counts }), 7);
});

test('a member that has rotated its witness key has one vote all the same, and parsePolicy reads the policy back', () => {
  const renewed = [20, 21].map((seed) => createCosigner(witnesses[0]!.vkey.name, signerOf(seed)));
  const renewedLog = createNoteSigner(LOG.name, signerOf(30));
  const members = witnesses.slice(0, 4).map(({ vkey }, i) => ({
    name: `member-${i}`,
    witnesses: i === 0 ? [...renewed.map((one) => one.vkey), vkey] : [vkey],
  }));
  const policy = consortiumPolicy([renewedLog.vkey, LOG.vkey], members);
  assert.deepEqual(parsePolicy(formatPolicy(policy)), policy);
  assert.equal(new Set(policy.witnesses.map(({ name }) => name)).size, 6);
  assert.equal(policy.witnesses[0]!.name, witnesses[0]!.vkey.name);
  const old = cosign(witnesses[0]!, TEXT, 3);
  const others = [cosign(witnesses[1]!, TEXT, 8), cosign(witnesses[2]!, TEXT, 9)];
  const both = renewed.map((one, i) => cosign(one, TEXT, 4 + i));
  assert.equal(
    cosignedTime(policy, noteWith([old, ...both, others[0]!])),
    undefined,
    'three keys of one member',
  );
  assert.equal(cosignedTime(policy, noteWith([old, ...others])), 9);
  assert.equal(cosignedTime(policy, noteWith([both[1]!, ...others])), 9);
  const note = { text: TEXT, signatures: [...signNote(TEXT, [renewedLog]).signatures, both[0]!, ...others] };
  assert.equal(cosignedTime(policy, formatNote(note)), 9, 'signed with the renewed log key');
  // A member without a key keeps its place in the count.
  const fewer = consortiumPolicy([LOG.vkey], members.slice(1), 4);
  assert.deepEqual(parsePolicy(formatPolicy(fewer)), fewer);
  assert.equal(fewer.groups.at(-1)!.threshold, 3);
});
