import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cosign } from '../../../runtime/core/log/cosignature.ts';
import { formatNote, signNote } from '../../../runtime/core/log/note.ts';
import {
  consortiumPolicy,
  createPolicyJudge,
  evaluatePolicy,
  faults,
  formatPolicy,
  isQuorum,
  parsePolicy,
  quorum,
} from '../../../runtime/core/log/policy.ts';
import { createVkey, formatVkey, ML_DSA_44_COSIGNATURE } from '../../../runtime/core/log/vkey.ts';
import { cosignerOf, logOf } from './keys.ts';

const LOG = logOf('example.com/log', 1);
const W = Array.from({ length: 12 }, (_, i) => cosignerOf(`witness.example/w${i}`, 100 + i));
const logKey = formatVkey(LOG.vkey);
const key = (i: number) => formatVkey(W[i]!.vkey);
const TEXT = 'example.com/log\n9\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n';

/** The checkpoint with the cosignatures of these witnesses. */
function cosignedBy(...witnesses: readonly number[]): string {
  const lines = witnesses.map((i) => cosign(W[i]!, TEXT, 1700000000 + i));
  return formatNote({ text: TEXT, signatures: [...signNote(TEXT, [LOG]).signatures, ...lines] });
}

test('the quorums of the design, and why they are safe', () => {
  assert.deepEqual([3, 4, 5, 7, 10].map(quorum), [3, 3, 4, 5, 7]);
  assert.deepEqual([3, 4, 5, 6, 7, 10, 13].map(faults), [1, 1, 1, 1, 2, 3, 4]);
  for (let n = 2; n <= 300; n++) {
    assert.ok(2 * quorum(n) - n > faults(n), `two quorums of ${n} share an honest member`);
    assert.ok(quorum(n) <= n, `all of ${n} are enough`);
    if (n >= 4) assert.ok(quorum(n) <= n - faults(n), `the honest of ${n} are enough`);
  }
  assert.equal(quorum(1), 2);
  for (const n of [0, -1, 1.5, Number.NaN]) assert.throws(() => quorum(n), RangeError);
});

/** The example of C2SP tlog-policy with keys filled in. */
const EXAMPLE = `# two organisations
log ${logKey}

witness X1 ${key(0)}
witness X2\t${key(1)}  https://x2.example/
  witness X3 ${key(2)}
group X-witnesses 2 X1 X2 X3

witness Y1 ${key(3)}
witness Y2 ${key(4)}
witness Y3 ${key(5)}
group Y-witnesses any Y1 Y2 Y3
 \t
group X-and-Y all X-witnesses Y-witnesses
  # done
quorum X-and-Y
`;

test('the example policy of C2SP tlog-policy', () => {
  const policy = parsePolicy(EXAMPLE);
  assert.deepEqual(
    policy.groups.map(({ threshold }) => threshold),
    [2, 1, 2],
  );
  assert.equal(policy.witnesses[1]?.url, 'https://x2.example/');
  const judge = createPolicyJudge(policy);
  // Every subset of the six witnesses, against the rule in words.
  for (let set = 0; set < 64; set++) {
    const present = [0, 1, 2, 3, 4, 5].filter((i) => (set >> i) & 1);
    const verdict = judge(cosignedBy(...present));
    const xs = present.filter((i) => i < 3).length;
    assert.ok(verdict.kind !== 'refused');
    assert.equal(verdict.kind === 'satisfied', xs >= 2 && present.length > xs, `${present}`);
    const names = ['X1', 'X2', 'X3', 'Y1', 'Y2', 'Y3'];
    assert.deepEqual(
      verdict.cosigned,
      present.map((i) => ({ witness: names[i], time: 1700000000 + i })),
    );
    assert.equal(verdict.checkpoint.size, 9);
  }
});

test('a policy comes back as it went in', () => {
  const policy = parsePolicy(EXAMPLE);
  const text = formatPolicy(policy);
  assert.deepEqual(parsePolicy(text), policy);
  assert.equal(formatPolicy(parsePolicy(new TextEncoder().encode(text))), text);
  assert.deepEqual(parsePolicy('quorum none\n'), { logs: [], witnesses: [], groups: [], quorum: 'none' });
  const bytes = Uint8Array.of(
    ...new TextEncoder().encode('# caf'),
    0xe9,
    ...new TextEncoder().encode(`\n${text}`),
  );
  assert.deepEqual(parsePolicy(bytes), policy, 'a comment may be in any 8-bit charset');
  const named = text.replaceAll('X-and-Y', '\u212aelvin');
  assert.equal(parsePolicy(named).quorum, '\u212aelvin');
});

test('policies that break a rule are refused, with the line', () => {
  const base = `log ${logKey}\nwitness A ${key(0)}\nwitness B ${key(1)}\n`;
  const bad: readonly (readonly [string, RegExp])[] = [
    [base, /no quorum line/],
    ['', /no quorum line/],
    [`${base}quorum A\nquorum A\n`, /line 5: a second quorum/],
    [`${base}quorum C\n`, /line 4: quorum: "C" is not defined before it/],
    [`quorum A\n${base}`, /line 1: quorum: "A" is not defined/],
    [`${base}quorum A`, /line 4: it does not end in a newline/],
    [`${base}quorum A B\n`, /line 4: .* is no log, witness, group or quorum line/],
    [`${base}Quorum A\n`, /line 4/],
    [`${base}group G 0 A B\nquorum G\n`, /threshold must be 1 to 2/],
    [`${base}group G 3 A B\nquorum G\n`, /threshold must be 1 to 2/],
    [`${base}group G 01 A B\nquorum G\n`, /is no threshold/],
    [`${base}group G most A B\nquorum G\n`, /is no threshold/],
    [`${base}group G any\nquorum G\n`, /line 4/],
    [`${base}group G any A C\nquorum G\n`, /"C" is not defined before it/],
    [`${base}group G any A G\nquorum G\n`, /"G" is not defined before it/],
    [`${base}group G any A none\nquorum G\n`, /"none" is not defined before it/],
    [`${base}group G any A A\nquorum G\n`, /"A" as a member of a group comes twice/],
    [`${base}group G any A\ngroup H any A B\nquorum H\n`, /"A" as a member of a group comes twice/],
    [`${base}group A any B\nquorum A\n`, /the name "A" comes twice/],
    [`${base}group none any B\nquorum none\n`, /is a name of the format itself/],
    [`${base}witness none ${key(2)}\nquorum none\n`, /is a name of the format itself/],
    [`${base}witness A ${key(2)}\nquorum A\n`, /the name "A" comes twice/],
    [`${base}witness C ${key(0)}\nquorum A\n`, /the key of witness "C" comes twice/],
    [`${base}witness C ${formatVkey(createVkey('other', 4, W[0]!.vkey.key))}\nquorum A\n`, /comes twice/],
    [`${base}log ${logKey}\nquorum A\n`, /the key of log .* comes twice/],
    [`${base}witness C ${logKey}\nquorum A\n`, /signature type 4 or 6, "C" has 1/],
    [
      `${base}log ${formatVkey(createVkey('x', 200, W[5]!.vkey.key))}\nquorum A\n`,
      /signature type 1, 4 or 6/,
    ],
    [`${base}witness C ${key(2)} url more\nquorum A\n`, /line 4/],
    [`${base}witness C nokey\nquorum A\n`, /malformed verifier key "nokey"/],
    [`${base}quorum A\r\n`, /control character/],
    [`${base}quorum\u000bA\n`, /control character/],
    [`${base}quorum\u007fA\n`, /control character/],
    [`${base}quorum\u00a0A\n`, /line 4/],
    ['#\n'.repeat(5000), /more than 4096 lines/],
    ['#'.repeat(2_000_000), /more than 1048576 bytes/],
  ];
  for (const [text, reason] of bad) assert.throws(() => parsePolicy(text), reason, text.slice(-60));
  const opaque = Uint8Array.of(...new TextEncoder().encode(`${base}quorum A`), 0xe9, 10);
  assert.throws(() => parsePolicy(opaque), /line 4: it is not UTF-8/);
});

test('a policy that could not be read back is not written', () => {
  const policy = parsePolicy(EXAMPLE);
  assert.throws(() => formatPolicy({ ...policy, quorum: 'X 1' }), /not defined/);
  assert.throws(
    () => formatPolicy({ ...policy, witnesses: [{ name: 'a b', vkey: W[6]!.vkey }, ...policy.witnesses] }),
    /cannot stand/,
  );
  assert.throws(() => formatPolicy({ ...policy, logs: [{ vkey: LOG.vkey, url: 'a\nb' }] }), /cannot stand/);
  assert.throws(
    () => formatPolicy({ ...policy, groups: [...policy.groups, policy.groups[0]!] }),
    /comes twice/,
  );
});

test('which checkpoints are refused whatever their cosignatures', () => {
  const policy = parsePolicy(`log ${logKey}\nwitness A ${key(0)}\nquorum none\n`);
  assert.equal(evaluatePolicy(policy, cosignedBy()).kind, 'satisfied');
  const other = logOf('example.com/other', 2);
  const reason = (message: string) => {
    const verdict = evaluatePolicy(policy, message);
    return verdict.kind === 'refused' ? verdict.reason : verdict.kind;
  };
  assert.match(reason('nonsense'), /malformed note/);
  assert.match(reason(formatNote(signNote('hello\n', [LOG]))), /malformed checkpoint/);
  assert.match(reason(formatNote(signNote(TEXT, [other]))), /no accepted log signed/);
  assert.match(reason(formatNote(signNote(TEXT.replace('/log', '/other'), [LOG]))), /no accepted log signed/);
  assert.match(
    reason(formatNote({ text: TEXT, signatures: [cosign(W[0]!, TEXT, 5)] })),
    /no accepted log signed/,
  );
  const moved = cosign(W[0]!, TEXT.replace('9', '8'), 5);
  const forged = formatNote({ text: TEXT, signatures: [...signNote(TEXT, [LOG]).signatures, moved] });
  assert.match(reason(forged), /invalid signature for key "witness.example\/w0"/);
});

test('a policy without logs takes those that the caller accepts', () => {
  const policy = parsePolicy(`witness A ${key(0)}\nquorum A\n`);
  assert.throws(() => evaluatePolicy(policy, cosignedBy(0)), /names no log/);
  assert.equal(evaluatePolicy(policy, cosignedBy(0), { logs: [LOG.vkey] }).kind, 'satisfied');
  assert.equal(evaluatePolicy(policy, cosignedBy(0), { logs: [logOf('x', 3).vkey] }).kind, 'refused');
});

test('a witness whose signature type is not known here counts as missing, and is named', () => {
  const future = createVkey('witness.example/pq', ML_DSA_44_COSIGNATURE, new Uint8Array(1312).fill(1));
  const text = `log ${logKey}\nwitness A ${key(0)}\nwitness Q ${formatVkey(future)}\ngroup G all A Q\nquorum G\n`;
  const line = { name: future.name, keyId: future.keyId, signature: new Uint8Array(8 + 2420) };
  const message = formatNote({
    text: TEXT,
    signatures: [...signNote(TEXT, [LOG]).signatures, cosign(W[0]!, TEXT, 5), line],
  });
  const verdict = evaluatePolicy(parsePolicy(text), message);
  assert.ok(verdict.kind === 'unsatisfied');
  assert.deepEqual(verdict.unverifiable, ['Q']);
  assert.deepEqual(verdict.cosigned, [{ witness: 'A', time: 5 }]);
});

test('a key that is both log and witness', () => {
  const both = cosignerOf('example.com/log', 50);
  const policy = parsePolicy(`log ${formatVkey(both.vkey)}\nwitness A ${formatVkey(both.vkey)}\nquorum A\n`);
  const message = formatNote({ text: TEXT, signatures: [cosign(both, TEXT, 7)] });
  assert.equal(evaluatePolicy(policy, message).kind, 'satisfied');
});

test('in a consortium members have votes, gateways have not', () => {
  const members = [
    { name: 'acme', witnesses: [0, 1, 2, 3].map((i) => W[i]!.vkey) },
    { name: 'bolt', witnesses: [W[4]!.vkey] },
    { name: 'cog', witnesses: [W[5]!.vkey, W[6]!.vkey] },
    { name: 'drill', witnesses: [W[7]!.vkey] },
  ];
  const policy = consortiumPolicy([LOG.vkey], members);
  assert.deepEqual(parsePolicy(formatPolicy(policy)), policy);
  const kind = (...present: readonly number[]) => evaluatePolicy(policy, cosignedBy(...present)).kind;
  assert.equal(kind(0, 1, 2, 3, 4), 'unsatisfied');
  assert.equal(kind(5, 6, 4), 'unsatisfied');
  assert.equal(kind(3, 4, 6), 'satisfied');
  assert.equal(kind(0, 1, 2, 3, 4, 5, 6, 7), 'satisfied');
  assert.throws(
    () => consortiumPolicy([LOG.vkey], [...members, { name: 'extra', witnesses: [W[0]!.vkey] }]),
    /comes twice/,
  );
  assert.throws(
    () => consortiumPolicy([LOG.vkey], [...members, { name: 'extra', witnesses: [] }]),
    /threshold/,
  );
});

test('a quorum that is met stays met when more witnesses come', () => {
  const policy = parsePolicy(EXAMPLE);
  const names = policy.witnesses.map(({ name }) => name);
  fc.assert(
    fc.property(fc.subarray(names), fc.subarray(names), (some, more) => {
      if (isQuorum(policy, new Set(some))) assert.ok(isQuorum(policy, new Set([...some, ...more])));
    }),
  );
  assert.ok(!isQuorum(policy, new Set(['X-and-Y'])), "a group's name is no witness");
});
