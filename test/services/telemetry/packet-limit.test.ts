import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { generate, type Packet } from 'mqtt-packet';
import { createPacketCheck } from '../../../runtime/services/telemetry/packet-limit.ts';

const packet = (size: number): Packet => ({
  cmd: 'publish',
  topic: 't',
  payload: Buffer.alloc(size),
  qos: 0,
  dup: false,
  retain: false,
});

test('packets are measured as the public codec writes them, in any pieces', () => {
  const sizes = fc.array(fc.constantFrom(0, 1, 100, 123, 124, 125, 200, 16_380, 16_381, 20_000), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(
      sizes,
      fc.integer({ min: 1, max: 5_000 }),
      fc.constantFrom(150, 16_383, 19_000, 30_000),
      (all, piece, limit) => {
        const bytes = Buffer.concat([...all.map((size) => generate(packet(size))), Buffer.of(0xc0, 0)]);
        const check = createPacketCheck(limit);
        let fine = true;
        for (let i = 0; i < bytes.length && fine; i += piece) fine = check(bytes.subarray(i, i + piece));
        // A publication with QoS 0 on "t" is its payload and three bytes.
        assert.equal(
          fine,
          all.every((size) => size + 3 <= limit),
        );
      },
    ),
  );
});

test('a length of five bytes is refused', () => {
  assert.equal(createPacketCheck(2 ** 40)(Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0xff)), false);
});
