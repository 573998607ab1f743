import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createSigner } from '#ed25519';
import { KIND } from '../../runtime/core/encoding/kind.ts';
import { decodeBlock, encodeBlock } from '../../runtime/core/log/block.ts';
import { cosign, createCosigner } from '../../runtime/core/log/cosignature.ts';
import { addSignatures, formatNote, parseNote } from '../../runtime/core/log/note.ts';
import { keys } from '../../runtime/state/journal/keys.ts';
import { decodeState, encodeState } from '../../runtime/state/journal/state.ts';
import { openStore, type Store } from '../../runtime/state/journal/store.ts';
import { type Consortium, createConsortium, type LabGateway } from './consortium.ts';
import { entryOf, flipped, flipRaw, must, newestCosigned, put, withLineChanged, withText } from './damage.ts';
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
      const { block, position, entries } = await entryOf(store, KIND.sample, 20);
      const sample = entries[position]!;
      const bytes = encodeBlock(entries.with(position, flipped(sample, sample.length - fromEnd)));
      await put(store, keys.block(block), bytes);
      return new RegExp(`entry ${position} of block ${block}: its signature does not verify`);
    });
  }
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
    await store.write([{ type: 'del', key: keys.block(30) }]);
    return /block 30 is absent/;
  });
  await changed(async (store) => {
    const [one, other] = [await must(store, keys.block(40)), await must(store, keys.block(41))];
    await put(store, keys.block(40), other);
    await put(store, keys.block(41), one);
    return /of block 4[01]: .*number \d+ where \d+ must be|leaf hash 40|tile 0\/0/;
  });
  await changed(async (store) => {
    await put(store, keys.block(51), await must(store, keys.block(50)));
    return /entry 0 of block 51: .*number \d+ where \d+ must be/;
  });
  await changed(async (store) => {
    const { block, position, entries } = await entryOf(store, KIND.sample, 60);
    await put(store, keys.block(block), encodeBlock(entries.toSpliced(position, 1)));
    return /of block \d+: .*number \d+ where \d+ must be|checkpoint of size \d+: its root is not that of the blocks|tile 0\/0|the journal counts/;
  });
});

test('the newest block cut off, its leaf and the count with it: a checkpoint knows better', async () => {
  await changed(async (store) => {
    const state = decodeState(await must(store, keys.state));
    const { size } = await newestCosigned(store);
    const dropped = state.blocks - size + 1;
    const lost = await Promise.all(
      Array.from({ length: dropped }, (_, back) => must(store, keys.block(state.blocks - 1 - back))),
    );
    const entries = lost.reduce((sum, block) => sum + decodeBlock(block).length, 0);
    await put(
      store,
      keys.state,
      encodeState({ ...state, blocks: state.blocks - dropped, entries: state.entries - entries }),
    );
    return /checkpoint of size \d+: the journal holds only \d+ blocks/;
  });
});

test('a hash of the tree, in a full tile and in the row that is not full yet', async () => {
  await changed(async (store) => {
    await put(store, keys.tile(0, 0), flipped(await must(store, keys.tile(0, 0)), 1000));
    return /tile 0\/0 is not made of the blocks' hashes/;
  });
  await changed(async (store) => {
    const { blocks } = decodeState(await must(store, keys.state));
    await put(store, keys.leaf(blocks - 1), flipped(await must(store, keys.leaf(blocks - 1)), 0));
    return new RegExp(`leaf hash ${blocks - 1} `);
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
      ['an early sample', early.entries[early.position]!.slice(-40)],
      ['a late sample', late.entries[late.position]!.slice(-40)],
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
        ? /journal record block\/[0-9a-f]+ is damaged/
        : /journal record section\/checkpoint\/[0-9a-f]+ is damaged/,
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
