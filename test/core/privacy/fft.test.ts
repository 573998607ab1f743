import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { forward, inverse, mirrored, transformError } from '../../../runtime/core/privacy/fft.ts';

function reversed(index: number, length: number): number {
  let result = 0;
  for (let bit = 1, top = length >> 1; bit < length; bit <<= 1, top >>= 1) if (index & bit) result |= top;
  return result;
}

const signal = (length: number) =>
  fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: length, maxLength: length });

describe('the transform', () => {
  it('is the sum that defines it, within its own bound', () => {
    fc.assert(
      fc.property(
        fc.nat(9),
        fc.infiniteStream(fc.double({ min: -1, max: 1, noNaN: true })),
        (log, stream) => {
          const length = 2 ** log;
          const re = Float64Array.from({ length }, () => stream.next().value as number);
          const im = Float64Array.from({ length }, () => stream.next().value as number);
          const [fr, fi] = [re.slice(), im.slice()];
          forward(fr, fi);
          const size = re.reduce((sum, x, j) => sum + Math.hypot(x, im[j]!), 0);
          for (let k = 0; k < length; k += 1) {
            let [sr, si] = [0, 0];
            for (let j = 0; j < length; j += 1) {
              const angle = (-2 * Math.PI * ((j * k) % length)) / length;
              sr += re[j]! * Math.cos(angle) - im[j]! * Math.sin(angle);
              si += re[j]! * Math.sin(angle) + im[j]! * Math.cos(angle);
            }
            const at = reversed(k, length);
            // The direct sum has a rounding of its own.
            const allowed = (transformError(length) + length * 2 ** -52) * size + 1e-300;
            assert.ok(Math.hypot(fr[at]! - sr, fi[at]! - si) <= allowed);
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it('comes back', () => {
    fc.assert(
      fc.property(signal(64), signal(64), (a, b) => {
        const [re, im] = [Float64Array.from(a), Float64Array.from(b)];
        forward(re, im);
        inverse(re, im);
        for (let j = 0; j < 64; j += 1) {
          assert.ok(Math.abs(re[j]! / 64 - a[j]!) < 1e-14 && Math.abs(im[j]! / 64 - b[j]!) < 1e-14);
        }
      }),
    );
  });

  it('finds the mirrored coefficient at every length', () => {
    for (let length = 1; length <= 256; length *= 2) {
      for (let k = 0; k < length; k += 1) {
        assert.equal(mirrored(reversed(k, length)), reversed((length - k) % length, length));
      }
    }
  });

  it('refuses other lengths', () => {
    assert.throws(() => forward(new Float64Array(6), new Float64Array(6)), RangeError);
  });
});
