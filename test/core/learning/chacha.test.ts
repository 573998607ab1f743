import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { describe, it } from 'node:test';
import { chachaStream } from '../../../runtime/core/learning/chacha.ts';

describe('chachaStream', () => {
  it('is that of RFC 8439, appendix A.1, test vector 1', () => {
    const stream = chachaStream(new Uint8Array(32), new Uint8Array(12));
    assert.equal(
      Buffer.from(stream(64)).toString('hex'),
      '76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7' +
        'da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586',
    );
  });

  it('is that of OpenSSL, however it is read', () => {
    const key = Uint8Array.from({ length: 32 }, (_, index) => 7 * index);
    const nonce = Uint8Array.from({ length: 12 }, (_, index) => 255 - index);
    const expected = createCipheriv('chacha20', key, Buffer.concat([Buffer.alloc(4), nonce])).update(
      Buffer.alloc(1000),
    );
    const stream = chachaStream(key, nonce);
    const parts = [1, 63, 64, 65, 200, 607].map((length) => stream(length));
    assert.deepEqual(Buffer.concat(parts), expected);
  });

  it('refuses keys and nonces of other lengths', () => {
    assert.throws(() => chachaStream(new Uint8Array(31), new Uint8Array(12)), RangeError);
    assert.throws(() => chachaStream(new Uint8Array(32), new Uint8Array(8)), RangeError);
  });
});
