import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLateness } from '../../../runtime/services/health/lateness.ts';

test('a process that is held up again and again is late, and that is told once', async (t) => {
  const lateness = createLateness();
  t.after(() => lateness.stop());
  assert.equal(lateness.recent(), undefined, 'nothing has been measured');
  lateness.start();
  for (let hold = 0; hold < 15; hold += 1) {
    await sleep(1);
    const until = performance.now() + 250;
    while (performance.now() < until);
  }
  const late = lateness.recent();
  // Held for 250 ms, timers of every 50 ms come 200 ms late; the machine may add to it.
  assert.ok(late !== undefined && late >= 150, String(late));
  assert.equal(lateness.recent(), undefined, 'too little since the last call');
});
