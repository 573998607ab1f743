import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  byteSize,
  duration,
  filePath,
  formatByteSize,
  formatDuration,
  formatHostPort,
  hostPort,
  name,
  parseByteSize,
  parseDuration,
  parseHostPort,
  url,
} from '../../../runtime/state/settings/units.ts';

test('lengths of time', () => {
  const known: [string, number | undefined][] = [
    ['250ms', 250],
    ['1s', 1000],
    ['1.5s', 1500],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['30d', 2_592_000_000],
    ['0ms', 0],
    ['1', undefined],
    ['s', undefined],
    ['1 s', undefined],
    ['-1s', undefined],
    ['1S', undefined],
    ['1e3s', undefined],
    ['0.5ms', undefined],
    ['1s ', undefined],
    ['999999999999999d', undefined],
  ];
  for (const [text, ms] of known) assert.equal(parseDuration(text), ms, text);
});

test('amounts of bytes', () => {
  const known: [string, number | undefined][] = [
    ['512B', 512],
    ['64kB', 64_000],
    ['2GB', 2e9],
    ['1.5GB', 1.5e9],
    ['512MiB', 536_870_912],
    ['1TiB', 2 ** 40],
    ['2gb', undefined],
    ['2G', undefined],
    ['0.1B', undefined],
  ];
  for (const [text, bytes] of known) assert.equal(parseByteSize(text), bytes, text);
});

test('what is formatted reads back', () => {
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 48 }), (amount) => {
      assert.equal(parseDuration(formatDuration(amount)), amount);
      assert.equal(parseByteSize(formatByteSize(amount)), amount);
    }),
  );
  fc.assert(
    fc.property(
      fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()),
      fc.integer({ min: 0, max: 65_535 }),
      (host, port) => {
        assert.deepEqual(parseHostPort(formatHostPort({ host, port })), { host, port });
      },
    ),
  );
});

test('hosts and ports', () => {
  assert.deepEqual(parseHostPort('plant.example:8443'), { host: 'plant.example', port: 8443 });
  assert.deepEqual(parseHostPort('[::1]:80'), { host: '::1', port: 80 });
  assert.deepEqual(parseHostPort('plant', 1883), { host: 'plant', port: 1883 });
  for (const text of [
    'plant',
    ':80',
    'a:b',
    'a:65536',
    '::1:80',
    'a:80:80',
    'user@a:80',
    '',
    '[::1',
    'a b:1',
  ]) {
    assert.equal(parseHostPort(text), undefined, text);
  }
});

test('the pieces hold their limits', () => {
  assert.equal(duration({ least: '1s', most: '1m' }).parse('1m'), 60_000);
  assert.ok(!duration({ least: '1s', most: '1m' }).safeParse('999ms').success);
  assert.ok(!duration({ least: '1s', most: '1m' }).safeParse('61s').success);
  assert.throws(() => duration({ least: '1 second' }), /no such unit/);
  assert.ok(!byteSize({ least: '1MB' }).safeParse('999kB').success);
  assert.ok(!hostPort().safeParse('a:0').success);
  assert.deepEqual(hostPort({ anyPort: true }).parse('a:0'), { host: 'a', port: 0 });
  assert.equal(url(['mqtt:', 'mqtts:']).parse('mqtts://a:1'), 'mqtts://a:1');
  for (const text of ['http://a', 'mqtt:', 'mqtt:///x', 'a'])
    assert.ok(!url(['mqtt:']).safeParse(text).success, text);
  assert.ok(
    !url(['mqtt:'])
      .refine((text) => new URL(text).port !== '1')
      .safeParse('nonsense').success,
  );
  assert.ok(!filePath().safeParse('').success && !filePath().safeParse('a\0b').success);
  for (const text of ['a', '0', 'press-1', 'a.b_c']) assert.ok(name().safeParse(text).success, text);
  for (const text of ['', '-a', 'A', 'ä', 'a/b', 'a'.repeat(65)])
    assert.ok(!name().safeParse(text).success, text);
});
