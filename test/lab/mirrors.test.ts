import assert from 'node:assert/strict';
import { appendFile } from 'node:fs/promises';
import { test } from 'node:test';
import { createConsortium } from './consortium.ts';
import { until } from './program.ts';

test('gateways as processes mirror each other’s logs, and talk of nothing but what they have seen', async (t) => {
  const consortium = await createConsortium({ gateways: 3, machines: 'live' });
  t.after(() => consortium.remove());
  for (const { config } of consortium.gateways)
    await appendFile(config, '\n[mirror]\ninterval = "200ms"\ngossip_interval = "400ms"\n');
  await consortium.startAll();
  for (const gateway of consortium.gateways) {
    await until(`${gateway.name} mirrors both others`, async () => {
      const { mirrors } = (await gateway.mustStatus()).exchange;
      return mirrors.length === 2 && mirrors.every(({ size }) => size > 3);
    });
  }
  for (const gateway of consortium.gateways) {
    const { exchange } = await gateway.mustStatus();
    assert.deepEqual(exchange.evidence, []);
    assert.deepEqual(exchange.frozen, []);
    assert.equal(exchange.mirroredBy.length, 2);
    assert.equal(exchange.behindOwnLog, null);
  }
  for (const code of await consortium.stopAll()) assert.equal(code, 0);
});
