import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { createSigner, createVerifier } from '#ed25519';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { createSign1Signer } from '../../../runtime/core/encoding/cose.ts';
import { blockRoot, decodeOpening, leafDataOf, verifyBlock } from '../../../runtime/core/log/block.ts';
import { leafHash } from '../../../runtime/core/log/hash.ts';
import { treeRoot } from '../../../runtime/core/log/tree.ts';
import { type Journal, openJournal, type Position } from '../../../runtime/state/journal/journal.ts';
import { RETENTIONS, type Retention } from '../../../runtime/state/journal/retention.ts';
import { entry, SETTINGS, temporary } from './helpers.ts';

const SIGNER = createSigner(new Uint8Array(32).fill(7));
const VERIFIER = createVerifier(SIGNER.publicKey);
const SETTINGS_SMALL = { ...SETTINGS, maxBytes: 6000 };

interface ModelBlock {
  readonly rule: Retention;
  readonly entries: readonly Uint8Array[];
  readonly signed: boolean;
}

/** What a journal is, in memory. */
interface Model {
  readonly blocks: ModelBlock[];
  readonly leaves: Uint8Array[];
  readonly records: Map<string, number>;
  readonly cursors: Map<string, Position>;
  readonly gone: Set<number>;
  entries: number;
}

type Step =
  | {
      readonly do: 'append';
      readonly rule: Retention;
      readonly lengths: readonly number[];
      readonly signed: boolean;
      readonly urgent: boolean;
      readonly record: number | undefined;
    }
  | { readonly do: 'write'; readonly key: number; readonly value: number | undefined }
  | { readonly do: 'cursor'; readonly name: number; readonly block: number }
  | { readonly do: 'pad'; readonly blocks: number }
  | { readonly do: 'reopen' };

const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      rule: fc.constantFrom(...RETENTIONS),
      lengths: fc.array(fc.integer({ min: 8, max: 400 }), { minLength: 1, maxLength: 4 }),
      signed: fc.boolean(),
      urgent: fc.boolean(),
      record: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      key: fc.integer({ min: 0, max: 3 }),
      value: fc.option(fc.nat(1000), { nil: undefined }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('cursor' as const), name: fc.nat(1), block: fc.nat(100) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('pad' as const), blocks: fc.integer({ min: 0, max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'reopen' as const }) },
);

let number = 0;
let refused = 0;
let dropped = 0;

async function apply(step: Step, journal: Journal, model: Model): Promise<void> {
  const section = journal.section('room');
  if (step.do === 'append') {
    const entries = step.lengths.map((length) => entry(number++, length));
    const { rule, signed, urgent, record } = step;
    const writes = record === undefined ? [] : [section.put(`${record}`, entry(number))];
    try {
      await journal.append(entries, { rule, urgent, blockSigned: signed, writes });
    } catch (error) {
      assert.equal((error as Error).name, 'JournalFull');
      assert.ok(rule === 'stop' || rule === 'drop-published', rule);
      assert.ok(journal.trouble());
      refused += 1;
      return;
    }
    model.blocks.push({ rule, entries, signed });
    model.entries += entries.length;
    if (record !== undefined) model.records.set(`${record}`, number);
  }
  if (step.do === 'write') {
    const key = `${step.key}`;
    if (step.value === undefined) model.records.delete(key);
    else model.records.set(key, step.value);
    await journal.write([step.value === undefined ? section.del(key) : section.put(key, entry(step.value))]);
  }
  if (step.do === 'cursor') {
    const position = { block: Math.min(step.block, model.blocks.length), entry: 0 };
    model.cursors.set(`${step.name}`, position);
    await journal.moveCursor(`${step.name}`, position);
  }
  if (step.do === 'pad') {
    await journal.pad(step.blocks);
    for (let block = 0; block < step.blocks; block++)
      model.blocks.push({ rule: 'drop-oldest', entries: [], signed: false });
  }
}

async function compare(journal: Journal, model: Model): Promise<void> {
  const state = journal.state();
  assert.deepEqual([state.blocks, state.entries, state.lost], [model.blocks.length, model.entries, []]);
  const last = new Map<Retention, number>();
  for (const [index, { rule, entries, signed }] of model.blocks.entries()) {
    const record = await journal.record(index);
    if (!record) {
      model.gone.add(index);
      assert.ok(rule === 'drop-oldest' || rule === 'drop-published', `${rule} was dropped`);
      assert.ok(!last.has(rule), 'the oldest of a rule go first');
      continue;
    }
    assert.ok(!model.gone.has(index), 'what was dropped does not come back');
    last.set(rule, index);
    assert.deepEqual(record.entries, entries);
    const opening = decodeOpening(record.opening);
    assert.deepEqual([opening.count, toHex(opening.root)], [entries.length, toHex(blockRoot(entries))]);
    assert.equal(opening.signature !== undefined && verifyBlock(opening, VERIFIER), signed);
    const leaf = leafHash(leafDataOf(record.opening));
    if (model.leaves[index]) assert.equal(toHex(leaf), toHex(model.leaves[index]!));
    model.leaves[index] = leaf;
  }
  assert.equal(model.leaves.length, model.blocks.length, 'each was held for a moment');
  if (model.blocks.length === 0) assert.equal(journal.head(), undefined);
  else assert.equal(toHex(journal.head()!.root), toHex(treeRoot(model.leaves)));
  const held = model.blocks.flatMap((_, index) => (model.gone.has(index) ? [] : [index]));
  assert.equal(await journal.nextHeld(0), held[0]);
  for (const [name, position] of model.cursors) {
    const wanted = position.block < state.first ? { block: state.first, entry: 0 } : position;
    assert.deepEqual(await journal.cursor(name), wanted);
    model.cursors.set(name, wanted);
  }
  const records = new Map<string, number>();
  for await (const [key, value] of journal.section('room').entries())
    records.set(key, new DataView(value.buffer, value.byteOffset).getUint32(0));
  assert.deepEqual([...records], [...model.records].sort());
}

test('whatever is done, in whatever order: the journal is what a model in memory is', async (t) => {
  const root = await temporary(t);
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 10, maxLength: 60 }), async (list) => {
      const directory = join(root, `${run++}`, 'journal');

      await mkdir(join(directory, '..'));
      const open = () => openJournal(directory, SETTINGS_SMALL, createSign1Signer(SIGNER));
      let journal = await open();
      const model: Model = {
        blocks: [],
        leaves: [],
        records: new Map(),
        cursors: new Map(),
        gone: new Set(),
        entries: 0,
      };
      try {
        for (const step of list) {
          if (step.do === 'reopen') {
            await journal.close();
            journal = await open();
            assert.equal(journal.damage(), undefined);
          } else await apply(step, journal, model);
          await compare(journal, model);
        }
      } finally {
        await journal.close();
        dropped += model.gone.size;
      }
    }),
    { numRuns: 60, seed: 4 },
  );
  assert.ok(dropped > 20 && refused > 5, `${dropped} dropped, ${refused} refused`);
});
