import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressKey, createRateLimit } from '../../../runtime/services/witnessing/rate-limit.ts';

function limitAt(each: { rate: number; burst: number }, all = { rate: 1e6, burst: 1e6 }, maxAddresses = 100) {
  const clock = { ms: 0 };
  return { clock, limit: createRateLimit({ each, all, maxAddresses, now: () => clock.ms }) };
}

test('a burst, then as many a second as the rate', () => {
  const { clock, limit } = limitAt({ rate: 2, burst: 5 });
  for (let i = 0; i < 5; i++) assert.equal(limit.take('192.0.2.1'), 0);
  assert.equal(limit.take('192.0.2.1'), 1);
  clock.ms = 499;
  assert.equal(limit.take('192.0.2.1'), 1);
  clock.ms = 500;
  assert.equal(limit.take('192.0.2.1'), 0);
  assert.equal(limit.take('192.0.2.1'), 1);
  // However long nothing is asked, no more than the burst gathers.
  clock.ms = 1e9;
  for (let i = 0; i < 5; i++) assert.equal(limit.take('192.0.2.1'), 0);
  assert.equal(limit.take('192.0.2.1'), 1);
});

test('what costs more waits longer, and says how long', () => {
  const { clock, limit } = limitAt({ rate: 2, burst: 10 });
  assert.equal(limit.take('192.0.2.1', 8), 0);
  const wait = limit.take('192.0.2.1', 8);
  assert.equal(wait, 3);
  clock.ms = wait * 1000;
  assert.equal(limit.take('192.0.2.1', 8), 0);
});

test('one address does not use up what another has, nor what all have once it is refused', () => {
  const { limit } = limitAt({ rate: 1, burst: 3 }, { rate: 1, burst: 6 });
  let taken = 0;
  for (let i = 0; i < 100; i++) if (limit.take('192.0.2.1') === 0) taken += 1;
  assert.equal(taken, 3);
  for (let i = 0; i < 3; i++) assert.equal(limit.take('192.0.2.2'), 0);
  assert.ok(limit.take('192.0.2.3') > 0, 'all together have had theirs');
});

test('a refusal for all costs the address nothing', () => {
  const { clock, limit } = limitAt({ rate: 0.001, burst: 1 }, { rate: 1, burst: 1 });
  assert.equal(limit.take('192.0.2.1'), 0);
  assert.ok(limit.take('192.0.2.2') > 0);
  clock.ms = 1000;
  assert.equal(limit.take('192.0.2.2'), 0);
});

test('a clock that goes back gives nothing and takes nothing', () => {
  const { clock, limit } = limitAt({ rate: 1, burst: 1 });
  clock.ms = 1000;
  assert.equal(limit.take('192.0.2.1'), 0);
  clock.ms = 0;
  assert.ok(limit.take('192.0.2.1') > 0);
});

test('a million addresses take no more room than the table has; who asked last is remembered', () => {
  const { limit } = limitAt({ rate: 0.001, burst: 1 }, undefined, 50);
  for (let i = 0; i < 20_000; i++) limit.take(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
  assert.equal(limit.size(), 50);
  assert.ok(limit.take('10.0.78.31') > 0, 'the last one has used up its burst');
  assert.equal(limit.take('10.0.0.0'), 0, 'the first one is forgotten');
  // Asking keeps an address remembered, so that nobody gets a new bucket by asking for ever.
  const other = limitAt({ rate: 0.001, burst: 1 }, undefined, 3).limit;
  other.take('192.0.2.1');
  for (let i = 0; i < 100; i++) {
    assert.ok(i === 0 || other.take('192.0.2.1') > 0);
    other.take(`198.51.100.${i}`);
  }
});

test('addresses: IPv4 one by one, IPv6 by its /64, in all their written forms', () => {
  assert.equal(addressKey('192.0.2.7'), '192.0.2.7');
  for (const mapped of ['::ffff:192.0.2.7', '::FFFF:c000:0207', '0:0:0:0:0:ffff:192.0.2.7']) {
    assert.equal(addressKey(mapped), '192.0.2.7');
  }
  const of64 = '2001:db8:0:1::/64';
  for (const written of [
    '2001:db8:0:1::1',
    '2001:0DB8:0000:0001:ffff:ffff:ffff:ffff',
    '2001:db8:0:1:0:0:0:2',
    '2001:db8:0:1::192.0.2.7',
    '2001:db8:0:1::%eth0',
  ]) {
    assert.equal(addressKey(written), of64, written);
  }
  assert.notEqual(addressKey('2001:db8:0:2::1'), of64);
  assert.equal(addressKey('fe80::1%eth0'), 'fe80:0:0:0::/64');
  assert.equal(addressKey('::1'), '0:0:0:0::/64');
  for (const bad of ['', 'unix', '1:2:3', '1::2::3', '12345::', 'g::1'])
    assert.equal(addressKey(bad), '', bad);
});
