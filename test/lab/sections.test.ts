/** Every kind of record that a gateway keeps besides its own blocks, changed by somebody who has the disk. */
import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createSigner, type Signer } from '#ed25519';
import { loadAgreement } from '../../runtime/cli/settings-file.ts';
import { type DirectoryReport, verifyDirectory } from '../../runtime/cli/verify/directory.ts';
import { gatewayNameIn } from '../../runtime/cli/verify/name.ts';
import { formatCheckpoint, parseCheckpoint } from '../../runtime/core/log/checkpoint.ts';
import { cosign, createCosigner } from '../../runtime/core/log/cosignature.ts';
import { createEvidence, formatEvidence } from '../../runtime/core/log/evidence.ts';
import {
  addSignatures,
  createNoteSigner,
  formatNote,
  parseNote,
  signNote,
} from '../../runtime/core/log/note.ts';
import { createEvidenceBook } from '../../runtime/services/witnessing/evidence.ts';
import { logParties } from '../../runtime/services/witnessing/names.ts';
import type { Agreement } from '../../runtime/state/agreement/agreement.ts';
import { openJournal } from '../../runtime/state/journal/journal.ts';
import { keys, ordered } from '../../runtime/state/journal/keys.ts';
import { openStore, type Store } from '../../runtime/state/journal/store.ts';
import { loadGatewayKeys } from '../../runtime/state/provenance/keys.ts';
import { rosterOf } from '../../runtime/state/provenance/roster.ts';
import { readStatements, statementsPath } from '../../runtime/state/provenance/statements-file.ts';
import { type Consortium, createConsortium, type LabGateway } from './consortium.ts';
import { flipped, must, newestCosigned, put } from './damage.ts';
import { kosmos, lastJson, until } from './program.ts';

let three: Consortium;
let gateway: LabGateway;
let other: LabGateway;
let agreement: Agreement;
let copy: string;
let report: DirectoryReport;

const verified = (directory = copy) => verifyDirectory(directory, agreement, gateway.name, () => undefined);

before(async () => {
  three = await createConsortium({
    gateways: 3,
    machines: 'live',
    machinesEach: 2,
    commitInterval: '10ms',
    more: () => '\n[mirror]\ninterval = "200ms"\ngossip_interval = "500ms"\n',
  });
  [gateway, other] = three.gateways as [LabGateway, LabGateway];
  // A statement beyond the agreement, which the others learn of.
  const rotated = await kosmos(three.program, ['keys', 'rotate', '--directory', other.directory]);
  assert.equal(rotated.code, 0, rotated.stderr);
  await three.startAll();
  await gateway.ask('maintenance', { machine: 'press-1', type: 'fault', note: 'it squeaks' });
  await until('two models, a statement, a full tile of a mirror', async () => {
    const { federation, exchange } = await gateway.mustStatus();
    return federation.version > 1 && exchange.mirrors.every(({ size }) => size > 270);
  });
  assert.deepEqual(await three.stopAll(), [0, 0, 0]);
  agreement = await loadAgreement(join(gateway.directory, 'agreement.toml'));
  assert.equal(await gatewayNameIn(gateway.directory), gateway.name);
  copy = join(three.directory, 'copy');
  await cp(gateway.directory, copy, { recursive: true, verbatimSymlinks: true });
  await addEvidence();
  report = await verified();
});

after(() => three?.remove());

/** What the other one's log key could sign, and never did: a second story, and a checkpoint that nobody can link. */
async function addEvidence(): Promise<void> {
  const { log: key } = await loadGatewayKeys(other.directory);
  const statements = await readStatements(statementsPath(other.directory));
  const parties = logParties(agreement, rosterOf(agreement, statements));
  const party = parties.find((one) => one.gateway === other.name)!;
  const signer = createNoteSigner(party.origin, key);
  const signed = (size: number, byte: number) => {
    const root = new Uint8Array(32).fill(byte);
    return formatNote(
      signNote(formatCheckpoint({ origin: party.origin, size, root, extensions: [] }), [signer]),
    );
  };
  const journal = await openJournal(join(copy, 'journal'), {
    commitIntervalMs: 1,
    maxBytes: 1e9,
    maxDiskBytes: 2e9,
    maxPendingBytes: 1e8,
  });
  try {
    const book = createEvidenceBook({
      journal,
      parties,
      save: async () => undefined,
      report: () => undefined,
    });
    const evidence = createEvidence(party.logKeys[0]!, [signed(9, 1), signed(9, 2)], []);
    assert.equal(await book.add(formatEvidence(evidence)), 'new');
    const note = new TextEncoder().encode(signed(99_999, 3));
    await journal.write([journal.section('origin').put(`${party.origin}/${ordered(99_999)}`, note)]);
  } finally {
    await journal.close();
  }
}

async function inStore<T>(work: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore(join(copy, 'journal'), 'existing');
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** Changes one record, looks at what verify says, and puts it back. */
async function assertNoticed(
  key: string,
  change: (value: Uint8Array) => Uint8Array | undefined,
  named: RegExp,
) {
  const before = await inStore(async (store) => {
    const value = await must(store, key);
    const changed = change(value);
    if (changed) await put(store, key, changed);
    else await store.write([{ type: 'del', key }]);
    return value;
  });
  try {
    await assert.rejects(verified(), { name: 'Broken', message: named }, key);
  } finally {
    await inStore((store) => put(store, key, before));
  }
}

/** The first record whose key matches, and the last one. */
async function keysLike(pattern: RegExp): Promise<readonly string[]> {
  const found = await inStore(async (store) => {
    const all: string[] = [];
    for await (const [key] of store.lengths({ from: '', to: '\uffff' })) if (pattern.test(key)) all.push(key);
    return all;
  });
  assert.ok(found.length > 0, `no record is like ${pattern}`);
  return [...new Set([found[0]!, found.at(-1)!])];
}

test('what the report counts is there', () => {
  assert.equal(report.mirrors, 2);
  assert.equal(report.evidence, 1);
  assert.equal(report.statements, 1);
  assert.equal(report.witnessed, 2);
  assert.equal(report.outside, 0);
  for (const count of ['mirroredLeaves', 'charges', 'deposits', 'models'] as const)
    assert.ok(report[count] > 0, count);
});

/** Each kind of record, and what verify calls it. Any byte of the value counts unless `at` says which. */
const KINDS: readonly {
  readonly like: RegExp;
  readonly named: RegExp;
  readonly at?: (length: number) => number;
}[] = [
  {
    like: /^section\/training\/(update|set|entry)\//,
    named: /^(evidence of training|entry shown with evidence)/,
  },
  { like: /^mirror\/.*\/leaf\//, named: /^mirror of \S+: (its (leaves|right edge)|leaf)/ },
  { like: /^mirror\/.*\/bundle\//, named: /^mirror of \S+: (bundle|tile 0\/0 is not made of)/ },
  { like: /^mirror\/.*\/tile\//, named: /^mirror of \S+: tile 0+\/0+ is not made of the hashes below it/ },
  { like: /^mirror\/.*\/state$/, named: /^mirror of \S+: .*right edge/ },
  { like: /^mirror\/.*\/note$/, named: /^mirror of \S+: checkpoint: / },
  { like: /^section\/evidence\//, named: /^evidence log\/[0-9a-f]{64}: / },
  { like: /^section\/witness\//, named: /^witnessed head of lab\/\S+: / },
  { like: /^section\/origin\//, named: /^checkpoint kept as origin\/lab\/\S+: / },
  { like: /^section\/roster\//, named: /^statement about keys \(roster\/statement\/\d+\): / },
  {
    like: /^section\/statements\//,
    named: /^statement about keys [0-9a-f]{16} \(statements\/[0-9a-f]{64}\): /,
  },
  { like: /^section\/deposit\//, named: /^charge laid down by \S+ \(deposit\/\S+\): / },
  { like: /^section\/ledger\//, named: /^charge \d+ of the ledger: / },
  { like: /^section\/federation\/.*\/model\//, named: /^model version \d+: / },
  { like: /^section\/checkpoint\//, named: /^checkpoint of size \d+: / },
  { like: /^section\/maintenance\/opening\//, named: /^entry \d+ of block \d+: / },
  { like: /^section\/maintenance\/last$/, named: /^the record of the last maintenance entry (names|counts)/ },
  {
    like: /^section\/gateway\/agreement\//,
    named: /^gateway\/agreement\/[0-9a-f]{64}: its value is another hash/,
  },
  // A counter above the last number given is one of numbers lost.
  { like: /^section\/sequence\//, named: /counter|no loss is on record/, at: (length) => length - 1 },
];

for (const { like, named, at } of KINDS) {
  test(`one byte of ${like.source}`, async () => {
    const middle = (length: number) => length >> 1;
    for (const [number, key] of (await keysLike(like)).entries()) {
      const places = number > 0 ? [middle] : [() => 0, middle, (length: number) => length - 1];
      for (const place of at ? [at] : places)
        await assertNoticed(key, (value) => flipped(value, place(value.length)), named);
    }
  });
}

test('a promise that does not cover what was done', async () => {
  const [key] = await keysLike(/^section\/federation\/.*\/promised$/);
  await assertNoticed(
    key!,
    () => Uint8Array.of(0x81, 0),
    /^federation record \w+ is of round \d+, and only 0 was promised/,
  );
});

test('a charge taken out of the ledger, which would let budget be spent twice', async () => {
  const [first, last] = await keysLike(/^section\/ledger\//);
  assert.ok(last, 'two charges');
  await assertNoticed(last, () => undefined, /^the ledger lacks a charge that the log has an entry of/);
  await assertNoticed(first!, () => undefined, /^charge 0 of the ledger: it is absent/);
});

test('a statement taken out of the roster that the log has an entry of', async () => {
  const named = /^statement about keys [0-9a-f]{16}: the log holds it, the roster does not/;
  const rows = await inStore(async (store) => {
    const all: string[] = [];
    const base = keys.section('roster', '');
    for await (const [key] of store.entries({ from: base, to: `${base}\uffff` })) all.push(key);
    return all;
  });
  // The agreement's own come first; what came later is the last one.
  await assertNoticed(rows.at(-1)!, () => undefined, named);
});

test('records under keys that are not theirs', async () => {
  const [head, another] = await keysLike(/^section\/witness\//);
  const value = await inStore((store) => must(store, another!));
  await assertNoticed(head!, () => value, /^witnessed head of lab\/\S+: /);
  const [model, later] = await keysLike(/^section\/federation\/.*\/model\//);
  // It may be that one alone is kept.
  if (!later) return;
  const laterModel = await inStore((store) => must(store, later));
  await assertNoticed(model!, () => laterModel, /^model version \d+: its votes are for version/);
});

test('a mirror cut off at its end, its right edge set back with it, lacks what its checkpoint covers', async () => {
  const [key] = await keysLike(/^mirror\/.*\/state$/);
  await assertNoticed(key!, () => Uint8Array.of(0x82, 0, 0x80), /its checkpoint is of \d+ leaves, it has 0/);
});

test('a leaf taken out of a mirror, where the log tells of no damage', async () => {
  const [key] = await keysLike(/^mirror\/.*\/leaf\//);
  await assertNoticed(key!, () => undefined, /^mirror of \S+: leaf \d+ is absent/);
});

test('a head that was signed by a key that is nobody’s', async () => {
  const [key] = await keysLike(/^mirror\/.*\/note$/);
  const stranger: Signer = createSigner(new Uint8Array(32).fill(5));
  const resigned = (value: Uint8Array) => {
    const { text } = parseNote(value);
    const { origin } = parseCheckpoint(text);
    return new TextEncoder().encode(formatNote(signNote(text, [createNoteSigner(origin, stranger)])));
  };
  await assertNoticed(key!, resigned, /^mirror of \S+: checkpoint: /);
});

test('cosignatures of witnesses from outside the consortium are counted and not judged', async () => {
  const size = await inStore(async (store) => {
    const { key, size: newest, note } = await newestCosigned(store);
    const { text } = parseNote(note);
    const cosigner = createCosigner('witness.example/w', createSigner(new Uint8Array(32).fill(6)));
    const added = addSignatures(parseNote(note), [cosign(cosigner, text, 1_800_000_000)]);
    await put(store, key, new TextEncoder().encode(formatNote(added)));
    return newest;
  });
  const { foreignCosignatures, ...rest } = await verified();
  assert.equal(foreignCosignatures, 1, `of the checkpoint of size ${size}`);
  assert.deepEqual({ ...rest, foreignCosignatures: 0 }, report);
  const told = await kosmos(three.program, ['verify', copy]);
  assert.match(told.stdout, /^not judged: 1 cosignatures of witnesses from outside/m);
  await inStore(async (store) => {
    const base = keys.section('checkpoint', '');
    const key = base + ordered(size);
    const { text, signatures } = parseNote(await must(store, key));
    const own = signatures.filter(({ name }) => name.startsWith('lab/'));
    await put(store, key, new TextEncoder().encode(formatNote({ text, signatures: own })));
  });
});

test('put back as it was, it verifies, and the command says what it has looked at', async () => {
  assert.deepEqual(await verified(), report);
  const { code, stdout, stderr } = await kosmos(three.program, ['verify', copy]);
  assert.equal(code, 0, stderr);
  assert.match(
    stdout,
    /^of others: \d+ leaves of 2 mirrored logs, heads of 2 logs, .* 1 statements about keys, 1 pieces of evidence$/m,
  );
  const json = lastJson((await kosmos(three.program, ['verify', copy, '--json'])).stdout);
  assert.equal(json.mirrors, 2);
});
