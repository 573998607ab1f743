import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createShown } from '../../../runtime/services/witnessing/shown.ts';

function shownAt(foreignIntervalMs = 0) {
  const clock = { ms: 0 };
  const shown = createShown<{ readonly size: number }>({ foreignIntervalMs, now: () => clock.ms });
  return {
    clock,
    offer: (size: number, worth: 'signed' | 'final' | 'foreign') =>
      shown.offer({ size }, { final: worth !== 'signed', foreign: worth === 'foreign' }),
    size: () => shown.pick()?.size,
  };
}

test('the newest final checkpoint is shown, not the newest that lacks cosignatures', () => {
  const { offer, size } = shownAt();
  assert.equal(size(), undefined);
  offer(5, 'signed');
  assert.equal(size(), 5, 'nothing better is there');
  offer(5, 'final');
  offer(7, 'signed');
  assert.equal(size(), 5);
  offer(7, 'final');
  assert.equal(size(), 7);
});

test('cosignatures that stay away do not hide what is logged', () => {
  const { clock, offer, size } = shownAt();
  offer(5, 'final');
  clock.ms = 60_000;
  offer(7, 'signed');
  assert.equal(size(), 5);
  clock.ms = 60_001;
  assert.equal(size(), 7);
});

test('what is shown never goes back', () => {
  const { clock, offer, size } = shownAt();
  offer(5, 'final');
  clock.ms = 100_000;
  offer(9, 'signed');
  assert.equal(size(), 9);
  // A late cosignature makes an older one final.
  offer(8, 'final');
  assert.equal(size(), 9);
  offer(10, 'final');
  assert.equal(size(), 10);
});

test('with witnesses from outside, the newest final one that they have cosigned, as long as they answer', () => {
  const { clock, offer, size } = shownAt(30_000);
  offer(5, 'final');
  assert.equal(size(), 5);
  offer(5, 'foreign');
  offer(7, 'final');
  offer(9, 'signed');
  assert.equal(size(), 5);
  offer(9, 'foreign');
  assert.equal(size(), 9);
  clock.ms = 120_000;
  offer(11, 'final');
  assert.equal(size(), 9);
  clock.ms = 120_001;
  assert.equal(size(), 11);
});
