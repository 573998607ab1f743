import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Learner } from '../../../runtime/services/federation/options.ts';
import { drawCommittee, leaderOf } from '../../../runtime/services/federation/parties.ts';
import { PATH } from '../../../runtime/services/federation/wire.ts';
import { type ConsortiumOptions, createConsortium, temporaryDirectory, until } from '../consortium.ts';
import { createNetwork, HASTY, honest, type Network, type NetworkOptions } from './network.ts';

async function networkOf(
  t: TestContext,
  setup: ConsortiumOptions,
  options: Partial<NetworkOptions> = {},
): Promise<Network> {
  const directory = await temporaryDirectory(t);
  const network = await createNetwork({
    consortium: createConsortium(setup),
    directory,
    timing: HASTY,
    ...options,
  });
  t.after(() => network.stopAll());
  return network;
}

async function untilVersion(network: Network, version: number, names = network.names): Promise<void> {
  await until(
    () => names.every((name) => network.version(name) >= version),
    () =>
      `version ${version}: ${names.map((name) => `${name} has ${network.version(name)}, ${JSON.stringify(network.member(name).federation.status())}`).join('\n')}\n${network.logged.slice(-40).join('\n')}`,
  );
}

/** Crashes the member that `choose` names, at the first request of `path` for which it names one. */
function crashAt(
  network: Network,
  path: string,
  choose: (round: RoundInHand) => string | undefined,
): Promise<RoundInHand> {
  return new Promise((resolve, reject) => {
    let done = false;
    network.onRequest(async (from, to, asked) => {
      if (done || asked !== path) return undefined;
      const { parties } = network.member(network.names[0]!);
      const round = Math.max(...network.alive().map((member) => member.memory.promised()));
      const leader = leaderOf(parties, round);
      const hand = { from, to, round, leader, committee: drawCommittee(parties, round, network.names) };
      const victim = choose(hand);
      if (victim === undefined) return undefined;
      done = true;
      await network.crash(victim).then(() => resolve({ ...hand, victim }), reject);
      return undefined;
    });
  });
}

interface RoundInHand {
  readonly from: string;
  readonly to: string;
  readonly round: number;
  readonly leader: string;
  readonly committee: readonly string[];
  readonly victim?: string;
}

for (const fleets of [
  [1, 1, 1],
  [1, 1, 1, 1],
  [1, 1, 1, 1, 1],
  [2, 1, 1],
]) {
  test(`rounds of ${fleets.join(' + ')} gateways: everybody has the mean of the updates, and no round is void`, async (t) => {
    const network = await networkOf(
      t,
      { fleets },
      { timing: { ...HASTY, takeoverIdle: 3000, takeoverGone: 1500 } },
    );
    await network.startAll();
    await untilVersion(network, 5);
    network.checkModels();
    for (const version of [1, 2, 3, 4, 5]) {
      assert.equal(
        network.contributors.get(version)?.length,
        network.names.length,
        `contributors of ${version}`,
      );
    }
    for (const member of network.alive()) {
      const { voids, lastVoid } = member.federation.status();
      assert.equal(voids, 0, `${member.name}: ${lastVoid}`);
    }
  });
}

test('rounds end where the agreement says so', async (t) => {
  const network = await networkOf(t, { fleets: [1, 1, 1], federation: { rounds: 2 } });
  await network.startAll();
  await untilVersion(network, 2);
  const promised = Math.max(...network.alive().map((member) => member.memory.promised()));
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual(network.names.map(network.version), [2, 2, 2]);
  assert.equal(Math.max(...network.alive().map((member) => member.memory.promised())), promised);
});

test('a contributor that goes before the set is signed costs nothing but its part', async (t) => {
  const network = await networkOf(t, { fleets: [1, 1, 1, 1, 1] });
  const gone = crashAt(network, PATH.contributed, ({ from, leader, committee }) =>
    from === leader || committee.includes(from) ? undefined : from,
  );
  await network.startAll();
  const { from, round } = await gone;
  const rest = network.names.filter((name) => name !== from);
  const version = Math.max(...rest.map(network.version));
  await untilVersion(network, version + 3, rest);
  network.checkModels();
  assert.ok(
    network.logged.some((line) => line.includes(`round ${round}: model`) && line.includes('from 4 gateways')),
    `round ${round} was finished by the others:\n${network.logged.join('\n')}`,
  );
});

test('a leader that goes in the middle of a round is followed by another', async (t) => {
  const network = await networkOf(t, { fleets: [1, 1, 1, 1] });
  const gone = crashAt(network, PATH.set, ({ leader }) => leader);
  await network.startAll();
  const { leader } = await gone;
  const rest = network.names.filter((name) => name !== leader);
  await untilVersion(network, Math.max(...rest.map(network.version)) + 3, rest);
  network.checkModels();
});

test('a leader that goes while the votes are counted: the record it leaves is finished, or nothing of it', async (t) => {
  const network = await networkOf(t, { fleets: [1, 1, 1, 1] });
  let votes = 0;
  const gone = crashAt(network, PATH.record, ({ leader, to }) => {
    if (to !== leader) votes += 1;
    return votes < 2 ? undefined : leader;
  });
  await network.startAll();
  const { leader } = await gone;
  const rest = network.names.filter((name) => name !== leader);
  await untilVersion(network, Math.max(...rest.map(network.version)) + 3, rest);
  await network.up(leader);
  await untilVersion(network, Math.max(...rest.map(network.version)) + 2);
  network.checkModels();
});

test('a record that a quorum voted for, its leader gone before it told, becomes the model', async (t) => {
  const network = await networkOf(t, { fleets: [1, 1, 1, 1], federation: { phaseLimit: 600_000 } });
  // A phase may take ten minutes: whoever waits for one that is over gives the test away.
  const gone = crashAt(network, PATH.commit, ({ leader }) => leader);
  await network.startAll();
  const { leader, round } = await gone;
  const rest = network.names.filter((name) => name !== leader);
  await untilVersion(network, Math.max(...rest.map(network.version)) + 2, rest);
  network.checkModels();
  assert.ok(
    network.logged.some((line) => line.includes(`finishing the record that round ${round} left`)) ||
      network.logged.some((line) => line.includes(`round ${round}: model`)),
    network.logged.join('\n'),
  );
});

test('a committee member that goes after shares have left: no second model, and rounds go on', async (t) => {
  const network = await networkOf(t, { fleets: [1, 1, 1, 1, 1] });
  const gone = crashAt(network, PATH.contributed, ({ leader, committee }) =>
    committee.find((name) => name !== leader),
  );
  await network.startAll();
  const { leader, committee } = await gone;
  const victim = committee.find((name) => name !== leader)!;
  const rest = network.names.filter((name) => name !== victim);
  const before = Math.max(...rest.map(network.version));
  await untilVersion(network, before + 3, rest);
  await network.up(victim);
  await untilVersion(network, before + 5);
  network.checkModels();
});

test('with three members the loss of one pauses rounds, and they say why; when it is back they go on', async (t) => {
  const network = await networkOf(t, { fleets: [1, 1, 1] });
  await network.startAll();
  await untilVersion(network, 2);
  await network.crash('gateway-2');
  const rest = ['gateway-0', 'gateway-1'];
  await until(
    () =>
      rest.some((name) => network.member(name).federation.status().waiting?.includes('gateway-2') === true),
    'somebody says for whom rounds wait',
  );
  const before = Math.max(...rest.map(network.version));
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.ok(Math.max(...rest.map(network.version)) <= before, 'two of three made a model');
  await network.up('gateway-2');
  await untilVersion(network, before + 2);
  network.checkModels();
});

test('a minority makes no round, the majority goes on, and healing needs no hand', async (t) => {
  const network = await networkOf(t, { fleets: [1, 1, 1, 1, 1] });
  await network.startAll();
  await untilVersion(network, 1);
  const minority = ['gateway-1'];
  const majority = network.names.filter((name) => !minority.includes(name));
  network.cutBetween(minority, majority);
  const alone = network.version('gateway-1');
  await untilVersion(network, alone + 4, majority);
  assert.ok(network.version('gateway-1') <= alone + 1);
  network.heal();
  const ahead = Math.max(...majority.map(network.version));
  await untilVersion(network, ahead + 2);
  network.checkModels();
  assert.equal(network.contributors.get(ahead + 2)?.length !== undefined, true);
});

test('halves of an even split both wait', async (t) => {
  const network = await networkOf(t, { fleets: [1, 1, 1, 1] });
  await network.startAll();
  await untilVersion(network, 1);
  network.cutBetween(['gateway-0', 'gateway-1'], ['gateway-2', 'gateway-3']);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const before = Math.max(...network.names.map(network.version));
  await new Promise((resolve) => setTimeout(resolve, 700));
  assert.ok(Math.max(...network.names.map(network.version)) <= before, 'half of the members made a model');
  network.heal();
  await untilVersion(network, before + 2);
  network.checkModels();
});

test('a member that was away takes over a certified model, and keeps it over a restart', async (t) => {
  const network = await networkOf(t, { fleets: [1, 1, 1, 1] });
  await network.startAll();
  await untilVersion(network, 1);
  await network.crash('gateway-3');
  const rest = network.names.filter((name) => name !== 'gateway-3');
  await untilVersion(network, network.version('gateway-3') + 4, rest);
  const back = await network.up('gateway-3');
  const ahead = Math.max(...rest.map(network.version));
  await untilVersion(network, ahead);
  const { head } = back.memory.model();
  await network.crash('gateway-3');
  const again = await network.up('gateway-3', false);
  assert.ok(again.memory.model().head.version >= head.version);
  assert.ok(again.memory.model().votes.length >= again.parties.quorum);
  again.federation.start();
  await untilVersion(network, ahead + 2);
  network.checkModels();
});

test('a member whose training fails stalls nobody', async (t) => {
  const failing: Learner = {
    ...honest('gateway-4'),
    update: async () => {
      throw new Error('the training process ended');
    },
  };
  const network = await networkOf(
    t,
    { fleets: [1, 1, 1, 1, 1], federation: { phaseLimit: 600_000 } },
    { learner: (name) => (name === 'gateway-4' ? failing : honest(name)) },
  );
  await network.startAll();
  // The phase limit is ten minutes: only the word of the one that fails can make this go on.
  await untilVersion(network, 3);
  network.checkModels();
  for (const version of [1, 2, 3]) assert.ok(!network.contributors.get(version)?.includes('gateway-4'));
});

test('a member that cannot train yet is left out; one that only needs time is waited for, but not for ever', async (t) => {
  let ready = false;
  const slow = (name: string): Learner => ({
    ...honest(name),
    readiness: () => (ready ? { kind: 'ready' } : { kind: 'waiting', why: 'data are still being read' }),
  });
  const never: Learner = {
    ...honest('gateway-4'),
    readiness: () => ({ kind: 'waiting', why: 'data are still being read' }),
  };
  const unable: Learner = {
    ...honest('gateway-3'),
    readiness: () => ({ kind: 'unable', why: 'no machine has failed yet' }),
  };
  const network = await networkOf(
    t,
    { fleets: [1, 1, 1, 1, 1], federation: { phaseLimit: 1000 } },
    { learner: (name) => (name === 'gateway-4' ? never : name === 'gateway-3' ? unable : slow(name)) },
  );
  await network.startAll();
  await until(
    () =>
      network
        .alive()
        .some((member) => member.federation.status().waiting?.includes('still being read') === true),
    'rounds wait for data',
  );
  assert.deepEqual(network.names.map(network.version), [0, 0, 0, 0, 0]);
  ready = true;
  await untilVersion(network, 2);
  assert.deepEqual([...(network.contributors.get(1) ?? [])].sort(), ['gateway-0', 'gateway-1', 'gateway-2']);
});
