import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { toHex } from '../../runtime/core/encoding/base64.ts';
import { createMerkleKernel } from '../../runtime/platform/merkle.ts';
import { naiveLeaf, naiveRoot } from '../core/log/naive.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const RESULT = new URL('../../runtime/platform/merkle.wasm.ts', import.meta.url);

const compilerIsAbsent = existsSync(new URL('../../node_modules/assemblyscript', import.meta.url))
  ? false
  : 'the compiler is not installed; scripts/kernel/build.mjs names its version';

test('the committed module is what its source compiles to', { skip: compilerIsAbsent }, async () => {
  const { compileKernel } = (await import(
    new URL('../../scripts/kernel/build.mjs', import.meta.url).href
  )) as { compileKernel: () => Promise<string> };
  assert.equal(await compileKernel(), readFileSync(RESULT, 'utf8'));
});

function refuse(): never {
  throw new Error('no entry here is long');
}

test('the kernel works on this machine: roots of 1 to 300 entries, word for word', () => {
  const kernel = createMerkleKernel();
  assert.ok(kernel, 'no WebAssembly with SIMD, which every Node that the gateway runs on has');
  const entries = Array.from({ length: 300 }, (_, index) => new Uint8Array((index * 37) % 1025).fill(index));
  const hashes = entries.map(naiveLeaf);
  for (let size = 1; size <= entries.length; size++) {
    const root: Uint8Array = kernel.root(entries.slice(0, size), refuse);
    assert.equal(toHex(root), toHex(naiveRoot(hashes.slice(0, size))), `${size} entries`);
  }
});

test('only a long entry is handed back to be hashed', () => {
  const kernel = createMerkleKernel();
  assert.ok(kernel);
  const handed: number[] = [];
  const entries = [1024, 1025, 0, 70_000, 90].map((length) => new Uint8Array(length));
  kernel.root(entries, (entry) => {
    handed.push(entry.length);
    return new Uint8Array(32);
  });
  assert.deepEqual(handed, [1025, 70_000]);
});

test('trees of no entry or too many are refused', () => {
  const kernel = createMerkleKernel();
  assert.ok(kernel);
  const one = new Uint8Array(1);
  assert.throws(() => kernel.root([], refuse), RangeError);
  const tooMany = new Array<Uint8Array>(kernel.mostEntries + 1).fill(one);
  assert.throws(() => kernel.root(tooMany, refuse), RangeError);
  assert.equal(Math.log2(kernel.mostEntries) % 1, 0);
});

const [merkle, blockRoot] = ['platform/merkle.ts', 'core/log/block-root.ts'].map(
  (file) => new URL(`../../runtime/${file}`, import.meta.url).href,
);

/** Where there is no WebAssembly, and where it has no vectors because the processor lacks what they need. */
const POORER = [
  { where: 'no WebAssembly', before: 'delete globalThis.WebAssembly;', options: [], skip: false },
  {
    where: 'a processor without SSE 4.1',
    before: '',
    options: ['--no-enable-sse4-1'],
    skip: process.arch === 'x64' ? false : 'such processors are x64',
  },
];

for (const { where, before, options, skip } of POORER) {
  test(`${where}: there is no kernel, and roots are the same`, { skip }, async () => {
    const script = `
      import { createMerkleKernel } from '${merkle}';
      import { merkleRoot } from '${blockRoot}';
      ${before}
      const root = merkleRoot([Uint8Array.of(1), new Uint8Array(100), new Uint8Array(2000)]);
      console.log(createMerkleKernel() === undefined, Buffer.from(root).toString('hex'));`;
    const args = [...options, '--import', 'tsx', '--input-type=module', '--eval', script];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, timeout: 30_000 });
    const entries = [Uint8Array.of(1), new Uint8Array(100), new Uint8Array(2000)];
    assert.equal(stdout.trim(), `true ${toHex(naiveRoot(entries.map(naiveLeaf)))}`);
  });
}
