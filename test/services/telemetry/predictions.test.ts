import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Link } from '../../../runtime/services/telemetry/link.ts';
import { createPredictions } from '../../../runtime/services/telemetry/predictions.ts';

/** A link that keeps what it is given until it is told to acknowledge. */
function handLink(): { link: Link; sent: string[]; acknowledge(): void } {
  const sent: string[] = [];
  const waiting: (() => void)[] = [];
  const link: Link = {
    publish(topic, payload, retain, done) {
      assert.equal(retain, true);
      sent.push(`${topic} ${payload}`);
      waiting.push(() => done('held'));
    },
    fail: assert.fail,
    close: () => assert.fail('not to be closed here'),
    ended: new AbortController().signal,
  };
  return { link, sent, acknowledge: () => waiting.shift()?.() };
}

test('one message a machine is in flight, and the newest prediction follows it', () => {
  const predictions = createPredictions(10);
  const { link, sent, acknowledge } = handLink();
  predictions.put('press', 'p', '1');
  predictions.attach(link);
  for (const payload of ['2', '3', '4']) predictions.put('press', 'p', payload);
  predictions.put('lathe', 'l', '9');
  assert.deepEqual(sent, ['p 1', 'l 9']);
  assert.equal(predictions.pending(), 2);
  acknowledge();
  assert.deepEqual(sent, ['p 1', 'l 9', 'p 4']);
  acknowledge();
  acknowledge();
  assert.equal(predictions.pending(), 0);
  assert.equal(sent.length, 3);
});

test('a new connection gets all of them again, and the old one counts no more', () => {
  const predictions = createPredictions(10);
  const [first, second] = [handLink(), handLink()];
  predictions.put('press', 'p', '1');
  predictions.put('lathe', 'l', '2');
  predictions.attach(first.link);
  first.acknowledge();
  predictions.detach();
  first.acknowledge();
  predictions.put('press', 'p', '3');
  assert.equal(predictions.pending(), 2);
  assert.equal(first.sent.length, 2);
  predictions.attach(second.link);
  assert.deepEqual(second.sent, ['p 3', 'l 2']);
});

test('machines beyond the limit are refused, known ones are not', () => {
  const predictions = createPredictions(1);
  predictions.put('press', 'p', '1');
  assert.throws(() => predictions.put('lathe', 'l', '1'), RangeError);
  predictions.put('press', 'p', '2');
  assert.equal(predictions.pending(), 1);
});
