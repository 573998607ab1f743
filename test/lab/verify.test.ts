import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createSigner } from '#ed25519';
import { KIND } from '../../runtime/core/encoding/kind.ts';
import { encodeOpening, openingOf } from '../../runtime/core/log/block.ts';
import { decodeBundle } from '../../runtime/core/log/bundle.ts';
import { cosign, createCosigner } from '../../runtime/core/log/cosignature.ts';
import { leafHash } from '../../runtime/core/log/hash.ts';
import { addSignatures, formatNote, parseNote } from '../../runtime/core/log/note.ts';
import { createFrontier } from '../../runtime/core/log/tree.ts';
import { encodeBlockRecord } from '../../runtime/state/journal/block-record.ts';
import { keys } from '../../runtime/state/journal/keys.ts';
import { RETENTIONS } from '../../runtime/state/journal/retention.ts';
import { decodeState, encodeState, stateOf } from '../../runtime/state/journal/state.ts';
import { openStore, type Store } from '../../runtime/state/journal/store.ts';
import { type Consortium, createConsortium, type LabGateway } from './consortium.ts';
import {
  blocksOf,
  entryOf,
  flipped,
  flipRaw,
  must,
  newestCosigned,
  put,
  withLineChanged,
  withText,
} from './damage.ts';
import { type Ended, kosmos, until } from './program.ts';

let three: Consortium;
let gateway: LabGateway;
let copies = 0;

before(async () => {
  three = await createConsortium({ gateways: 3, machines: 'live', commitInterval: '10ms', machinesEach: 4 });
  [gateway] = three.gateways as [LabGateway];
  await three.startAll();
  await gateway.ask('maintenance', { machine: 'press-1', type: 'fault', note: 'it squeaks' });
  await until('a model, a full tile, a final checkpoint behind it', async () => {
    const { log, federation } = await gateway.mustStatus();
    return federation.version > 0 && log.finalSize > 280;
  });
  assert.deepEqual(await three.stopAll(), [0, 0, 0]);
});

after(() => three?.remove());

/** A copy of a directory as the daemon left it, in which the agreement's links lead where they did. */
async function copied(of = gateway): Promise<string> {
  copies += 1;
  const copy = join(three.directory, `copy-${copies}`);
  await cp(of.directory, copy, { recursive: true, verbatimSymlinks: true });
  return copy;
}

async function verified(directory: string): Promise<Ended> {
  return kosmos(three.program, ['verify', directory, '--gateway', gateway.name]);
}

async function assertBroken(directory: string, named: RegExp): Promise<void> {
  const { code, stdout, stderr } = await verified(directory);
  assert.equal(code, 1, stdout);
  assert.match(stderr, named);
  assert.equal(stdout, '');
  await rm(directory, { recursive: true, force: true });
}

/** Changes a copy through LevelDB, checksums made right, and asserts that verify names what was changed. */
async function changed(change: (store: Store) => Promise<RegExp>): Promise<void> {
  const copy = await copied();
  const store = await openStore(join(copy, 'journal'), 'existing');
  const named = await change(store).finally(() => store.close());
  await assertBroken(copy, named);
}

test('what was written verifies, in every directory, as text and as JSON', async () => {
  for (const one of three.gateways) {
    const { code, stdout, stderr } = await kosmos(three.program, ['verify', await copied(one), '--json']);
    assert.equal(code, 0, stderr);
    const report = JSON.parse(stdout) as Record<string, unknown>;
    assert.equal(report.ok, true);
    assert.equal(report.gateway, one.name);
    for (const count of [
      'blocks',
      'entries',
      'samples',
      'signatures',
      'checkpoints',
      'cosignatures',
      'finalSize',
    ]) {
      assert.ok(Number(report[count]) > 0, `${count}: ${String(report[count])}`);
    }
    assert.ok(
      Number(report.signatures) >=
        Number(report.entries) + Number(report.checkpoints) + Number(report.cosignatures),
    );
  }
});

test('one byte of a stored sample, of its payload or its signature', async () => {
  for (const fromEnd of [1, 64, 75]) {
    await changed(async (store) => {
      const { key, block, position, record } = await entryOf(store, KIND.sample, 20);
      const sample = record.entries[position]!;
      const entries = record.entries.with(position, flipped(sample, sample.length - fromEnd));
      await put(store, key, encodeBlockRecord({ ...record, entries }));
      return new RegExp(`block ${block}: its entries are not those that the log holds`);
    });
  }
});

test('a sample changed and its block sealed anew', async () => {
  await changed(async (store) => {
    const { key, block, position, record } = await entryOf(store, KIND.sample, 20);
    const sample = record.entries[position]!;
    const entries = record.entries.with(position, flipped(sample, sample.length - 75));
    const opening = encodeOpening(openingOf(entries, new Uint8Array(32)));
    await put(store, key, encodeBlockRecord({ opening, entries }));
    return new RegExp(`block ${block} is not the one that the log holds`);
  });
});

test('a checkpoint: its size, its root, its signature', async () => {
  await changed(async (store) => {
    const { key, size, note } = await newestCosigned(store);
    await put(
      store,
      key,
      withText(note, (text) => text.replace(`\n${size}\n`, `\n${size + 1}\n`)),
    );
    return new RegExp(`checkpoint of size ${size}: invalid signature for key "lab/alpina/alpina-1"`);
  });
  await changed(async (store) => {
    const { key, size, note } = await newestCosigned(store);
    await put(store, key, withLineChanged(note, /^.*\n\d+\n.*$/m));
    return new RegExp(`checkpoint of size ${size}: invalid signature for key "lab/alpina/alpina-1"`);
  });
  await changed(async (store) => {
    const { key, size, note } = await newestCosigned(store);
    await put(store, key, withLineChanged(note, /^— lab\/alpina\/alpina-1 .*$/m));
    return new RegExp(`checkpoint of size ${size}: invalid signature for key "lab/alpina/alpina-1"`);
  });
});

test('a checkpoint under the size of another one', async () => {
  await changed(async (store) => {
    const { key, size, note } = await newestCosigned(store);
    await store.write([{ type: 'del', key }]);
    await put(
      store,
      keys.section(
        'checkpoint',
        key.slice(-14).replace(/.$/, (digit) => (digit === '0' ? '1' : '0')),
      ),
      new TextEncoder().encode(note),
    );
    return new RegExp(`checkpoint of size \\d+: it is for size ${size}`);
  });
});

test('one byte of a cosignature', async () => {
  await changed(async (store) => {
    const { key, size, note } = await newestCosigned(store);
    await put(store, key, withLineChanged(note, /^— lab\/borealis\/borealis-1\/witness .*$/m));
    return new RegExp(
      `checkpoint of size ${size}: invalid signature for key "lab/borealis/borealis-1/witness"`,
    );
  });
});

test('a cosignature of another checkpoint, and those of strangers', async () => {
  await changed(async (store) => {
    const { key, size, note } = await newestCosigned(store);
    const base = keys.section('checkpoint', '');
    const earlier: string[] = [];
    for await (const [, value] of store.entries({ from: base, to: key }))
      earlier.push(new TextDecoder().decode(value));
    const other = earlier.map(parseNote).findLast((candidate) => candidate.signatures.length === 4)!;
    const taken = other.signatures.filter((line) => line.name.startsWith('lab/ceres/'));
    await put(
      store,
      key,
      withText(note, (text) => formatNote(addSignatures(parseNote(text), taken))),
    );
    return new RegExp(`checkpoint of size ${size}: invalid signature for key "lab/ceres/ceres-1/witness"`);
  });
  for (const name of ['lab/ceres/ceres-1/witness', 'lab/dorado/dorado-1/witness']) {
    await changed(async (store) => {
      const { key, size, note } = await newestCosigned(store);
      const { text } = parseNote(note);
      const foreign = cosign(
        createCosigner(name, createSigner(Uint8Array.from({ length: 32 }, () => 7))),
        text,
        1_800_000_000,
      );
      await put(
        store,
        key,
        withText(note, (whole) => formatNote(addSignatures(parseNote(whole), [foreign]))),
      );
      return new RegExp(
        `checkpoint of size ${size}: ${name} \\(key [0-9a-f]+\\) is not a witness of the agreement`,
      );
    });
  }
});

test('a block that is gone, two that are swapped, one that is there twice, an entry taken out', async () => {
  await changed(async (store) => {
    const { key, block } = (await blocksOf(store))[30]!;
    await store.write([{ type: 'del', key }]);
    return new RegExp(`block ${block} is absent`);
  });
  await changed(async (store) => {
    const [one, other] = (await blocksOf(store)).slice(40);
    await put(store, one!.key, encodeBlockRecord(other!.record));
    await put(store, other!.key, encodeBlockRecord(one!.record));
    return new RegExp(`block ${one!.block} is not the one that the log holds`);
  });
  await changed(async (store) => {
    const [one, other] = (await blocksOf(store)).slice(50);
    await put(store, other!.key, encodeBlockRecord(one!.record));
    return new RegExp(`block ${other!.block} is not the one that the log holds`);
  });
  await changed(async (store) => {
    const { block, record } = (await blocksOf(store))[55]!;
    for (const rule of RETENTIONS) await put(store, keys.block(rule, block), encodeBlockRecord(record));
    return new RegExp(`block ${block} is there twice`);
  });
  await changed(async (store) => {
    const { key, block, position, record } = await entryOf(store, KIND.sample, 60);
    const entries = record.entries.toSpliced(position, 1);
    await put(store, key, encodeBlockRecord({ ...record, entries }));
    return new RegExp(`block ${block}: its entries are not those that the log holds`);
  });
});

test('the newest blocks cut off, the right edge and the counts with them: a checkpoint knows better', async () => {
  await changed(async (store) => {
    const state = decodeState(await must(store, keys.state));
    const { size } = await newestCosigned(store);
    const frontier = createFrontier();
    for await (const [, bytes] of store.entries({ from: keys.log.bundle(0), to: keys.log.bundle(1) })) {
      for (const data of decodeBundle(bytes, 256)) frontier.append(leafHash(data));
    }
    for (let index = 256; index < size - 1; index++)
      frontier.append(leafHash(await must(store, keys.log.leaf(index))));
    assert.equal(frontier.size, size - 1);
    const cut = (await blocksOf(store)).filter(({ block }) => block >= size - 1);
    const entries = cut.reduce((sum, { record }) => sum + record.entries.length, 0);
    const { held, droppedUnread, lost } = state;
    const before = stateOf({ frontier, held, droppedUnread, lost, entries: state.entries - entries });
    await put(store, keys.state, encodeState(before));
    return /checkpoint of size \d+: the journal holds only \d+ blocks/;
  });
});

test('a hash of the tree, a leaf in a full bundle, one behind it, the right edge', async () => {
  await changed(async (store) => {
    const key = keys.log.tile(0, 0);
    await put(store, key, flipped(await must(store, key), 1000));
    return /tile 0\/0 is not made of the hashes below it/;
  });
  await changed(async (store) => {
    const key = keys.log.bundle(0);
    await put(store, key, flipped(await must(store, key), 38 * 7 + 37));
    return /block 7 is not the one that the log holds/;
  });
  await changed(async (store) => {
    const { blocks } = decodeState(await must(store, keys.state));
    const key = keys.log.leaf(blocks - 1);
    await put(store, key, flipped(await must(store, key), 20));
    return new RegExp(`block ${blocks - 1} is not the one that the log holds`);
  });
  await changed(async (store) => {
    const state = decodeState(await must(store, keys.state));
    const hashes = state.frontier.hashes.with(0, flipped(state.frontier.hashes[0]!, 3));
    await put(store, keys.state, encodeState({ ...state, frontier: { ...state.frontier, hashes } }));
    return /the right edge of the log is not that of the blocks/;
  });
});

test('the opening of a maintenance entry, changed and gone', async () => {
  const base = keys.section('maintenance', 'opening/');
  const firstOpening = async (store: Store): Promise<readonly [string, Uint8Array]> => {
    for await (const record of store.entries({ from: base, to: `${base}\uffff`, limit: 1 })) return record;
    throw new Error('no opening');
  };
  await changed(async (store) => {
    const [key, value] = await firstOpening(store);
    await put(store, key, flipped(value, value.length - 1));
    return /entry \d+ of block \d+: maintenance opening: field 3 is not what the log has a digest of/;
  });
  await changed(async (store) => {
    const [key] = await firstOpening(store);
    await store.write([{ type: 'del', key }]);
    return /entry \d+ of block \d+: the journal has no opening for this maintenance entry/;
  });
});

test('a counter set back, which would let a number be used twice', async () => {
  await changed(async (store) => {
    await put(store, keys.section('sequence', 'stream/press-1/monitor'), Uint8Array.of(0x81, 3));
    return /the counter of stream\/press-1\/monitor is at 3, the last number given is \d+/;
  });
});

/** Bytes that lie in the files as they are: of a sample in the first and in the newest blocks, a checkpoint, a cosignature. */
async function wantedBytes(): Promise<ReadonlyMap<string, Uint8Array>> {
  const copy = await copied();
  const store = await openStore(join(copy, 'journal'), 'existing');
  try {
    const { blocks } = decodeState(await must(store, keys.state));
    const early = await entryOf(store, KIND.sample, 2);
    const late = await entryOf(store, KIND.sample, blocks - 4);
    const { note } = await newestCosigned(store);
    const cosignature = /borealis-1\/witness (.*)/.exec(note)![1]!;
    return new Map([
      ['an early sample', (await must(store, early.key)).slice(-40)],
      ['a late sample', (await must(store, late.key)).slice(-40)],
      ['a checkpoint', new TextEncoder().encode(note.split('\n')[2]!.slice(0, 30))],
      ['a cosignature', new TextEncoder().encode(cosignature.slice(30, 60))],
    ]);
  } finally {
    await store.close();
    await rm(copy, { recursive: true, force: true });
  }
}

test('one byte in the files themselves: in the write-ahead file, as the daemon left it', async () => {
  for (const wanted of (await wantedBytes()).values()) {
    const copy = await copied();
    await flipRaw(copy, '.log', wanted);
    // Twice: looking at what is broken does not mend it.
    assert.equal((await verified(copy)).code, 1);
    await assertBroken(copy, /the record at byte \d+ of .*\.log is damaged/);
  }
});

test('one byte in the files themselves: in a table', async () => {
  for (const [what, wanted] of await wantedBytes()) {
    const copy = await copied();
    // Opening it moves the write-ahead file into a table.
    await (await openStore(join(copy, 'journal'), 'existing')).close();
    await flipRaw(copy, '.ldb', wanted);
    await assertBroken(
      copy,
      what.endsWith('sample')
        ? /table .*\.ldb is damaged|journal record block\/[a-z]\/[0-9a-f]+ is damaged/
        : /table .*\.ldb is damaged|journal record section\/checkpoint\/[0-9a-f]+ is damaged/,
    );
  }
});

test('a directory that is none, one without a journal, one whose daemon runs', async () => {
  const absent = await kosmos(three.program, ['verify', join(three.directory, 'nowhere')]);
  assert.equal(absent.code, 1);
  assert.match(absent.stderr, /nowhere: there is no such directory/);
  const copy = await copied();
  await rm(join(copy, 'journal'), { recursive: true });
  const empty = await verified(copy);
  assert.equal(empty.code, 1);
  assert.match(empty.stderr, /there is no journal in /);
  await gateway.start();
  const running = await verified(gateway.directory);
  assert.equal((await gateway.kill('SIGTERM')).code, 0);
  assert.equal(running.code, 1);
  assert.match(running.stderr, /its daemon is running\n {2}stop it first/);
});
