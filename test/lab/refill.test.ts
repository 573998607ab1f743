import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { keys, logKeys } from '../../runtime/state/journal/keys.ts';
import { RETENTIONS } from '../../runtime/state/journal/retention.ts';
import { openStore } from '../../runtime/state/journal/store.ts';
import { createConsortium, type LabGateway } from './consortium.ts';
import { flipRaw, must } from './damage.ts';
import { kosmos, lastJson, until } from './program.ts';

/** Changes a byte of a record on the disk; `alsoGone` are records that it could be made from again. */
async function damage({ directory }: LabGateway, key: string, alsoGone: readonly string[]): Promise<void> {
  const store = await openStore(join(directory, 'journal'), 'existing');
  await store.write(alsoGone.map((gone) => ({ type: 'del', key: gone })));
  // Into tables, where what is old lies.
  await store.compact({ from: '', to: '\uffff' });
  const bytes = await must(store, key);
  await store.close();
  await flipRaw(directory, '.ldb', bytes);
}

test('records of a log and of a mirror that the disk has changed come back from copies, and verify is clean again', async (t) => {
  const made = await createConsortium({
    gateways: 3,
    machines: 'live',
    commitInterval: '10ms',
    machinesEach: 4,
    more: () => '\n[mirror]\ninterval = "200ms"\ngossip_interval = "500ms"\n',
  });
  t.after(() => made.remove());
  const { gateways, program } = made;
  const [one, other] = gateways as [LabGateway, LabGateway, LabGateway];
  const details = () => gateways.map((gateway) => `--- ${gateway.name}\n${gateway.log()}`).join('\n');
  await made.startAll();
  await until(
    'a bundle is full and mirrored',
    async () => {
      const { exchange } = await other.mustStatus();
      return exchange.mirrors.some(({ gateway, size }) => gateway === one.name && size > 280);
    },
    { details },
  );
  assert.deepEqual(await made.stopAll(), [0, 0, 0]);
  const blocks = Array.from({ length: 256 }, (_, block) => RETENTIONS.map((rule) => keys.block(rule, block)));

  for (const [gateway, key, alsoGone] of [
    [one, keys.log.bundle(0), blocks.flat()],
    [other, logKeys(`mirror/${one.name}/`).bundle(0), []],
  ] as const) {
    await damage(gateway, key, alsoGone);
    assert.equal((await made.verify(gateway)).code, 1, 'verify finds the damage');
    await made.startAll();
    // It reads all that is stored once a day, and at its start.
    await until(
      'the gateway finds the damage',
      async () => /the journal is damaged/.test(String((await gateway.mustStatus()).journal.trouble)),
      { details },
    );
    await gateway.kill('SIGTERM');
    await gateway.start();
    const line = new RegExp(`\\d+ records of the log of ${one.name} were put back, from `);
    await until('what is gone is put back', () => line.test(gateway.log()), { details });
    const { exchange, standing } = await until(
      'nobody doubts',
      async () => {
        const status = await gateway.mustStatus();
        return status.standing.doubt === null && status;
      },
      { details },
    );
    assert.deepEqual([exchange.incomplete, exchange.evidence, standing.behind], [[], [], null]);
    assert.deepEqual(await made.stopAll(), [0, 0, 0]);
    for (const each of gateways) {
      const checked = await kosmos(program, ['verify', each.directory, '--json']);
      assert.equal(checked.code, 0, `${each.name}: ${checked.stdout}${checked.stderr}`);
      const { mirrors, incompleteMirrors } = lastJson(checked.stdout);
      assert.deepEqual([mirrors, incompleteMirrors], [2, 0], each.name);
    }
  }
});
