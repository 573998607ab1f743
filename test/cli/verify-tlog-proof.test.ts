import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { decodeBlockProof, encodeBlockProof } from '../../runtime/cli/export/block-proof.ts';
import { formatTlogProof, parseTlogProof, type TlogProof } from '../../runtime/core/log/tlog-proof.ts';
import { assertRefused, createPlant, flipped, kosmosHere, made, succeeded } from './plant.ts';

test('a sample’s tlog-proof: with its leaf, without it, by a policy; and whatever is changed in it', async (t) => {
  const { plant, bundle } = await made(t);
  const file = plant.path('sample.tlog-proof');
  await succeeded(
    ...['export', '--directory', plant.directory, '--output', file, '--format', 'tlog-proof'],
    ...['--sample', 'press-1/burst/0/11'],
  );
  const agreement = ['--agreement', plant.agreementFile];
  const policy = plant.path('policy');
  await writeFile(policy, bundle.policy);
  const report = await succeeded('verify', file, ...agreement);
  assert.deepEqual((report.entry as { values: unknown }).values, [11, -11]);
  const byPolicy = await kosmosHere('verify', file, '--policy', policy);
  assert.equal(byPolicy.code, 0, byPolicy.stderr);
  assert.match(byPolicy.stdout, /the signature of an entry was not judged: that takes --agreement FILE/);
  const printed = await kosmosHere('verify', file, ...agreement, '--print');
  assert.equal((JSON.parse(printed.stdout) as { sequence: number }).sequence, 11);
  const nobody = await kosmosHere('verify', file);
  assert.equal(nobody.code, 2);
  assert.match(nobody.stderr, /by whose word\?\n {2}give --agreement FILE or --policy FILE/);

  const proof = parseTlogProof(await readFile(file));
  const inner = decodeBlockProof(proof.extra!);
  const extra = (change: Partial<typeof inner>): TlogProof => ({
    ...proof,
    extra: encodeBlockProof({ ...inner, ...change }),
  });
  const [first, ...rest] = inner.hashes;
  const cases: readonly (readonly [string, TlogProof, RegExp])[] = [
    ['index', { ...proof, index: proof.index - 1 }, /bad inclusion proof/],
    [
      'a hash',
      { ...proof, hashes: [flipped(proof.hashes[0]!), ...proof.hashes.slice(1)] },
      /bad inclusion proof/,
    ],
    [
      'a hash less',
      { ...proof, hashes: proof.hashes.slice(1) },
      /bad inclusion proof: the proof is too short/,
    ],
    [
      'a cosignature less',
      { ...proof, checkpoint: { ...proof.checkpoint, signatures: proof.checkpoint.signatures.slice(0, 3) } },
      /quorum is not reached/,
    ],
    ['the opening', extra({ opening: flipped(inner.opening, 10) }), /the entry in it leads to another leaf/],
    ['the entry', extra({ entry: flipped(inner.entry) }), /the entry is not in its block/],
    ['the position', extra({ position: inner.position + 1 }), /the entry is not in its block/],
    ['a hash of the block', extra({ hashes: [flipped(first!), ...rest] }), /the entry is not in its block/],
    ['extra that is cut', { ...proof, extra: proof.extra!.slice(0, -1) }, /tlog-proof: CBOR/],
  ];
  for (const [what, change, named] of cases) {
    await t.test(what, async () => {
      await writeFile(file, formatTlogProof(change));
      await assertRefused(file, named, ...agreement);
    });
  }
  const whole = new TextEncoder().encode(formatTlogProof(proof));
  for (let place = 0; place < whole.length; place += 13) {
    await writeFile(file, flipped(whole, place));
    const { code, stdout } = await kosmosHere('verify', file, ...agreement, '--print');
    // Nobody signs the extra line: where it is no block proof any more, only the leaf is proven, and no sample.
    assert.ok(code === 1 || (code === 0 && stdout === ''), `byte ${place}: ${stdout}`);
  }
  await writeFile(file, formatTlogProof(proof));
  const leaf = await readFile(`${file}.leaf`);
  await writeFile(`${file}.leaf`, flipped(leaf));
  await assertRefused(file, /the entry in it leads to another leaf/, ...agreement);
  await rm(`${file}.leaf`);
  await succeeded('verify', file, ...agreement);
  const other = await createPlant(t, 'other');
  await assertRefused(file, /no accepted log signed/, '--agreement', other.agreementFile);

  // A proof as any other program writes it: no extra data.
  const { extra: _, ...bare } = proof;
  await writeFile(file, formatTlogProof(bare));
  const which = await kosmosHere('verify', file, ...agreement);
  assert.equal(which.code, 2);
  assert.match(which.stderr, /which leaf is it a proof of\?/);
  const named = plant.path('leaf');
  await writeFile(named, leaf);
  const plain = await succeeded('verify', file, ...agreement, '--leaf', named);
  assert.deepEqual([plain.entry, plain.signature], [null, false]);
  await writeFile(named, flipped(leaf));
  await assertRefused(file, /bad inclusion proof/, ...agreement, '--leaf', named);
});
