import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { type ExportBundle, type ExportedBlock, encodeExport } from '../../runtime/core/log/export.ts';
import { formatNote, parseNote } from '../../runtime/core/log/note.ts';
import { assertRefused, flipped, kosmosHere, made, revokedBy, T0 } from './plant.ts';

function withBlock(bundle: ExportBundle, number: number, change: (block: ExportedBlock) => ExportedBlock) {
  return {
    ...bundle,
    blocks: bundle.blocks.map((block, index) => (index === number ? change(block) : block)),
  };
}

const without = <T>(list: readonly T[], place: number) => list.filter((_, index) => index !== place);
const replaced = <T>(list: readonly T[], place: number, value: T) =>
  list.map((old, index) => (index === place ? value : old));
test('whatever is changed in a bundle is noticed and named', async (t) => {
  const { plant, file, bundle } = await made(t);
  const other = await made(t, 'other');
  const note = parseNote(bundle.checkpoint);
  const signatures = parseNote(bundle.signatures!);
  const [first, second] = bundle.blocks;
  const burst = bundle.blocks.findIndex(({ entries }) => entries.length === 20);
  const opening = bundle.openings[0]!;
  const cases: readonly (readonly [string, ExportBundle, RegExp])[] = [
    ['agreement', { ...bundle, document: flipped(bundle.document!, 5) }, /agreement/],
    [
      'agreement no text',
      { ...bundle, document: Uint8Array.of(0xff) },
      /agreement in the bundle: it is no text/,
    ],
    [
      'agreement with a comment',
      { ...bundle, document: Buffer.concat([bundle.document!, Buffer.from('# more\n')]) },
      /agreement in the bundle: the signatures are for another document/,
    ],
    [
      'agreement of others',
      { ...bundle, document: other.bundle.document, signatures: other.bundle.signatures },
      /checkpoint: no accepted log signed/,
    ],
    ['no signatures', { ...bundle, signatures: undefined }, /agreement in the bundle: it is not signed/],
    [
      'a signature missing',
      { ...bundle, signatures: formatNote({ ...signatures, signatures: without(signatures.signatures, 1) }) },
      /agreement in the bundle: not signed by bolt/,
    ],
    [
      'a signature forged',
      {
        ...bundle,
        signatures: formatNote({
          ...signatures,
          signatures: signatures.signatures.map((line) => ({ ...line, signature: flipped(line.signature) })),
        }),
      },
      /agreement in the bundle: the signature of plant\/acme is wrong/,
    ],
    [
      'policy',
      { ...bundle, policy: bundle.policy.replace('quorum quorum', 'quorum none') },
      /policy in the bundle: it is not what/,
    ],
    ['policy garbage', { ...bundle, policy: 'garbage\n' }, /policy in the bundle: policy, line 1/],
    ['statement', { ...bundle, statements: [Uint8Array.of(1, 2, 3)] }, /statement in the bundle/],
    [
      'statement of others',
      { ...bundle, statements: [revokedBy(other.plant, 'sample', T0)] },
      /statement in the bundle/,
    ],
    [
      'checkpoint text',
      { ...bundle, checkpoint: bundle.checkpoint.replace(/\n([0-9]+)\n/, '\n1$1\n') },
      /checkpoint: invalid signature for key "plant\/acme\/acme-1"/,
    ],
    ['checkpoint garbage', { ...bundle, checkpoint: 'x' }, /checkpoint: malformed note/],
    [
      'checkpoint of others',
      { ...bundle, checkpoint: other.bundle.checkpoint },
      /checkpoint: no accepted log signed/,
    ],
    [
      'cosignature',
      {
        ...bundle,
        checkpoint: formatNote({
          ...note,
          signatures: replaced(note.signatures, 2, {
            ...note.signatures[2]!,
            signature: flipped(note.signatures[2]!.signature),
          }),
        }),
      },
      /checkpoint: invalid signature for key "plant\/bolt\/bolt-1\/witness"/,
    ],
    [
      'cosignature missing',
      { ...bundle, checkpoint: formatNote({ ...note, signatures: note.signatures.slice(0, 3) }) },
      /quorum is not reached/,
    ],
    [
      'log proof',
      { ...bundle, proof: replaced(bundle.proof, 0, flipped(bundle.proof[0]!)) },
      /log proof: blocks and proof do not lead/,
    ],
    ['log proof short', { ...bundle, proof: bundle.proof.slice(1) }, /log proof: the proof is too short/],
    [
      'log proof long',
      { ...bundle, proof: [...bundle.proof, new Uint8Array(32)] },
      /log proof: the proof is too long/,
    ],
    ['block left out', { ...bundle, blocks: without(bundle.blocks, 1) }, /log proof/],
    ['block index', withBlock(bundle, 0, (block) => ({ ...block, index: 0 })), /log proof/],
    [
      'opening',
      withBlock(bundle, 0, (block) => ({ ...block, opening: flipped(block.opening, 9) })),
      /log proof/,
    ],
    [
      'openings exchanged',
      withBlock(bundle, 0, (block) => ({ ...block, opening: second!.opening })),
      /log proof/,
    ],
    [
      'entry',
      withBlock(bundle, 0, ({ entries, ...block }) => ({ ...block, entries: [flipped(entries[0]!)] })),
      new RegExp(`block ${first!.index}: entries and proof do not lead`),
    ],
    [
      'entry of another block',
      withBlock(bundle, 0, (block) => ({ ...block, entries: second!.entries })),
      /entries and proof do not lead/,
    ],
    [
      'salted entry',
      withBlock(bundle, burst, (block) => ({
        ...block,
        entries: replaced(block.entries, 7, flipped(block.entries[7]!)),
      })),
      /entries and proof do not lead/,
    ],
    [
      'position',
      withBlock(bundle, 0, (block) => ({ ...block, positions: [1] })),
      new RegExp(`block ${first!.index}: there is no leaf 1`),
    ],
    [
      'entry left out',
      withBlock(bundle, burst, (block) => ({
        ...block,
        positions: without(block.positions, 3),
        entries: without(block.entries, 3),
      })),
      /block \d+: the proof is too short/,
    ],
    [
      'hash added',
      withBlock(bundle, 0, (block) => ({ ...block, hashes: [new Uint8Array(32)] })),
      /block \d+: the proof is too long/,
    ],
    [
      'maintenance opening',
      { ...bundle, openings: [{ ...opening, opening: flipped(opening.opening, 20) }] },
      /block \d+, entry 0: /,
    ],
    [
      'stray opening',
      { ...bundle, openings: [{ ...opening, digest: new Uint8Array(32) }] },
      /opening 0000000000000000: no maintenance entry/,
    ],
    ['nothing shown', { ...bundle, blocks: [], proof: [new Uint8Array(32)] }, /log proof/],
  ];
  const changed = plant.path('changed');
  for (const [what, mutation, named] of cases) {
    await writeFile(changed, encodeExport(mutation));
    await t.test(what, () => assertRefused(changed, named));
  }
  const bytes = new Uint8Array(await readFile(file));
  const files: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ['cut', bytes.subarray(0, -1), /CBOR: /],
    ['longer', Uint8Array.of(...bytes, 0), /CBOR: 1 bytes after the end/],
    ['first byte', flipped(bytes, 0), /neither a bundle nor a tlog-proof nor evidence/],
    ['name of the format', flipped(bytes, 4), /neither a bundle nor a tlog-proof nor evidence/],
  ];
  for (const [what, content, named] of files) {
    await writeFile(changed, content);
    await t.test(what, () => assertRefused(changed, named));
  }
});

test('a byte changed anywhere in the file does not pass', async (t) => {
  const { plant, file } = await made(t);
  const bytes = new Uint8Array(await readFile(file));
  const changed = plant.path('changed');
  const step = Math.floor(bytes.length / 120);
  for (let place = 3; place < bytes.length; place += step) {
    await writeFile(changed, flipped(bytes, place));
    const { code } = await kosmosHere('verify', changed);
    assert.equal(code, 1, `byte ${place} of ${bytes.length}`);
  }
});
