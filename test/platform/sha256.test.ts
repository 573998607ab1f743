import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { toHex } from '../../runtime/core/encoding/base64.ts';
import * as browser from '../../runtime/platform/sha256.browser.ts';
import * as node from '../../runtime/platform/sha256.node.ts';

const VARIANTS = { node, browser };

/** FIPS 180-4's examples, as NIST publishes them. */
const PUBLISHED: readonly (readonly [string, string])[] = [
  ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
  [
    'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
    '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  ],
  [
    'abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu',
    'cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1',
  ],
  ['a'.repeat(1_000_000), 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0'],
];

function someBytes(length: number): Uint8Array {
  return new Uint8Array(length).map((_, index) => (index * 167 + length) & 255);
}

for (const [name, { sha256, createSha256 }] of Object.entries(VARIANTS)) {
  test(`${name}: the published examples`, () => {
    for (const [text, digest] of PUBLISHED) {
      const data = new TextEncoder().encode(text);
      assert.equal(toHex(sha256(data)), digest);
      const half = data.length >> 1;
      const parts = createSha256().update(data.subarray(0, half)).update(data.subarray(half));
      assert.equal(toHex(parts.digest()), digest);
    }
  });

  test(`${name}: every length to 300, wherever the bytes lie`, () => {
    const memory = someBytes(400);
    for (let length = 0; length <= 300; length++) {
      const data = memory.subarray(length % 7, (length % 7) + length);
      assert.equal(toHex(sha256(data)), createHash('sha256').update(data).digest('hex'), `${length} bytes`);
    }
  });

  test(`${name}: a digest has memory of its own`, () => {
    const first = sha256(someBytes(1));
    const kept = toHex(first);
    const second = sha256(someBytes(2));
    assert.equal(first.length, 32);
    assert.equal(toHex(first), kept);
    second.fill(0);
    first.fill(0);
    assert.equal(toHex(sha256(someBytes(1))), kept);
    // A Buffer's slice() would share its memory with whoever takes a part of it.
    assert.equal(Object.getPrototypeOf(first), Uint8Array.prototype);
  });
}
