import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { GatewayStatus } from '../../runtime/status.ts';
import { type Consortium, type ConsortiumOptions, createConsortium, type LabGateway } from './consortium.ts';
import { childrenOf, isAlive, kosmos, until } from './program.ts';

async function consortium(t: TestContext, options: ConsortiumOptions): Promise<Consortium> {
  const made = await createConsortium(options);
  t.after(() => made.remove());
  return made;
}

function statusesOf(gateways: readonly LabGateway[]): Promise<readonly GatewayStatus[]> {
  return Promise.all(gateways.map((gateway) => gateway.mustStatus()));
}

function logsOf(gateways: readonly LabGateway[]): () => string {
  return () => gateways.map((gateway) => `--- ${gateway.name}\n${gateway.log().slice(-1500)}`).join('\n');
}

/** Waits until every one of them has a model of at least this version. */
async function untilVersion(gateways: readonly LabGateway[], version: number): Promise<void> {
  await until(
    `model ${version} at ${gateways.map((gateway) => gateway.name).join(', ')}`,
    async () => (await statusesOf(gateways)).every((status) => status.federation.version >= version),
    { details: logsOf(gateways) },
  );
}

/** Waits until everything that their logs hold by now is final. */
async function untilFinal(gateways: readonly LabGateway[]): Promise<void> {
  const sizes = (await statusesOf(gateways)).map((status) => status.log.size);
  await until(
    `finality of ${sizes.join(', ')} blocks`,
    async () => (await statusesOf(gateways)).every((status, index) => status.log.finalSize >= sizes[index]!),
    { details: logsOf(gateways) },
  );
}

/** Waits until one of the gateways is in a phase of a round that `phase` matches. */
function untilInPhase(gateways: readonly LabGateway[], phase: RegExp): Promise<LabGateway> {
  return until(
    `somebody in phase ${phase}`,
    async () => {
      const statuses = await statusesOf(gateways);
      return gateways.find((_, index) => phase.test(statuses[index]!.federation.phase));
    },
    { everyMs: 10, details: logsOf(gateways) },
  );
}

async function newestVersion(gateways: readonly LabGateway[]): Promise<number> {
  return Math.max(...(await statusesOf(gateways)).map((status) => status.federation.version));
}

/** Waits until a round was made to which `gateway` contributed. */
async function untilContributes(gateway: LabGateway, witness: LabGateway, after: number): Promise<void> {
  await until(
    `${gateway.name} contributes again`,
    async () => {
      const { lastRound } = (await witness.mustStatus()).federation;
      return (
        lastRound !== undefined && lastRound.version > after && lastRound.contributors.includes(gateway.name)
      );
    },
    { details: logsOf([gateway, witness]) },
  );
}

/** The last models of all, once rounds have ended: one version has one hash. */
async function modelsOf(gateways: readonly LabGateway[]): Promise<ReadonlyMap<number, ReadonlySet<string>>> {
  const models = new Map<number, Set<string>>();
  for (let look = 0; look < 3; look++) {
    for (const gateway of gateways) {
      const { version, hash } = (await gateway.ask('federated-model')) as { version: number; hash: string };
      models.set(version, (models.get(version) ?? new Set()).add(hash));
    }
  }
  return models;
}

async function stopAndVerify({ gateways, stopAll, verify }: Consortium): Promise<void> {
  assert.deepEqual(
    await stopAll(),
    gateways.map(() => 0),
  );
  for (const gateway of gateways) {
    const checked = await verify(gateway);
    assert.equal(checked.code, 0, `${gateway.name}: ${checked.stderr}`);
  }
}

test('one of five is killed in the middle of a round, leader or not: the others finish rounds, it comes back in', async (t) => {
  const five = await consortium(t, { gateways: 5, machines: 'recorded' });
  const { gateways, startAll } = five;
  await startAll();
  await untilVersion(gateways, 1);
  for (const phase of [/contributed|signing|adding|voting/, /training|sharing|waiting for the others/]) {
    const victim = await untilInPhase(gateways, phase);
    const others = gateways.filter((gateway) => gateway !== victim);
    const children = childrenOf(victim.pid());
    await victim.kill('SIGKILL');
    const version = await newestVersion(others);
    await untilVersion(others, version + 2);
    await until('its training process has ended', () => !children.some(isAlive));
    for (const { log, federation } of await statusesOf(others)) {
      assert.ok(!federation.lastRound?.contributors.includes(victim.name));
      assert.equal(log.quorum, 4);
    }
    await untilFinal(others);
    const before = await newestVersion(others);
    await victim.start();
    await untilVersion([victim], before);
    await untilContributes(victim, others[0]!, before);
    await untilFinal(gateways);
  }
  for (const [version, hashes] of await modelsOf(gateways))
    assert.equal(hashes.size, 1, `model ${version} has several hashes`);
  await stopAndVerify(five);
});

test('one of three is killed: sampling, logging and predicting go on, rounds and finality wait and say why', async (t) => {
  const three = await consortium(t, { gateways: 3, machines: 'live' });
  const { gateways, startAll, program } = three;
  await startAll();
  await untilVersion(gateways, 1);
  await untilFinal(gateways);
  const [victim, ...others] = gateways as [LabGateway, LabGateway, LabGateway];
  await victim.kill('SIGKILL');
  await until(
    'both say why no round is made',
    async () =>
      (await statusesOf(others)).every((status) => status.federation.waiting?.includes(victim.name)),
    { details: logsOf(others) },
  );
  await until('the newest checkpoints have the two cosignatures that they can have', async () =>
    (await statusesOf(others)).every((status) => status.log.cosigners.length === 2),
  );
  const before = await statusesOf(others);
  await until('sampling, logging and predicting go on', async () =>
    (await statusesOf(others)).every((status, index) => {
      const last = before[index]!;
      const predicted = (of: GatewayStatus) =>
        Math.max(0, ...of.predictions.map((prediction) => prediction.time));
      return (
        status.journal.entries > last.journal.entries + 100 &&
        status.log.published > last.log.published &&
        predicted(status) > predicted(last)
      );
    }),
  );
  for (const [index, status] of (await statusesOf(others)).entries()) {
    const last = before[index]!;
    assert.equal(status.federation.version, last.federation.version);
    assert.equal(status.log.finalSize, last.log.finalSize);
    assert.ok(status.log.published > status.log.finalSize);
    assert.equal(status.log.quorum, 3);
    assert.match(status.federation.waiting ?? '', /2 of 3 members answer, 3 are needed; missing: alpina-1/);
    const peer = status.peers.find(({ name }) => name === victim.name);
    assert.equal(peer?.connected, false);
    assert.match(peer?.trouble ?? '', /ECONNREFUSED/);
  }
  // The newest checkpoint is new again and again, and for a moment nobody else has cosigned it.
  const shown = await until('status counts the cosignatures', async () => {
    const { code, stdout, stderr } = await kosmos(program, ['status', '--config', others[0].config]);
    assert.equal(code, 0, stderr);
    return stdout.includes('2 of 3 members have cosigned the newest') && stdout;
  });
  assert.match(shown, /waiting: 2 of 3 members answer, 3 are needed; missing: alpina-1/);
  assert.match(shown, /alpina-1 unreachable: connect ECONNREFUSED/);

  const version = await newestVersion(others);
  await victim.start();
  await untilVersion(gateways, version + 1);
  await untilFinal(gateways);
  await until('nobody waits any more', async () =>
    (await statusesOf(others)).every((status) => status.federation.waiting === undefined),
  );
  await stopAndVerify(three);
});
