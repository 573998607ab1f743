import assert from 'node:assert/strict';
import { cp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { toHex } from '../../runtime/core/encoding/base64.ts';
import { KIND, kindOf } from '../../runtime/core/encoding/kind.ts';
import { decodeSample } from '../../runtime/core/encoding/sample.ts';
import { readEntry } from '../../runtime/core/log/block.ts';
import { faults, quorum } from '../../runtime/core/log/policy.ts';
import { answersForDoubt } from '../../runtime/standing.ts';
import { openJournal } from '../../runtime/state/journal/journal.ts';
import { openStore, type Write } from '../../runtime/state/journal/store.ts';
import { type Consortium, createConsortium, type LabGateway } from './consortium.ts';
import { kosmos, lastJson, until } from './program.ts';

const SETTINGS = {
  commitIntervalMs: 1000,
  maxBytes: 2_000_000_000,
  maxDiskBytes: 2_000_000_000,
  maxPendingBytes: 32_000_000,
};

async function consortium(t: TestContext): Promise<Consortium> {
  const made = await createConsortium({
    gateways: 3,
    machines: 'live',
    more: () => '\n[mirror]\ninterval = "200ms"\ngossip_interval = "500ms"\n',
  });
  t.after(() => made.remove());
  return made;
}

/** A copy as an operator makes it, while the gateway is stopped. */
async function copyOf(gateway: LabGateway, to: string): Promise<void> {
  await cp(gateway.directory, to, {
    recursive: true,
    preserveTimestamps: true,
    filter: (path) => !path.endsWith('.sock'),
  });
}

async function putBack(gateway: LabGateway, backup: string): Promise<void> {
  await rm(gateway.directory, { recursive: true });
  await mkdir(gateway.directory);
  await cp(backup, gateway.directory, { recursive: true, preserveTimestamps: true });
}

async function blocksIn(directory: string): Promise<number> {
  const copy = `${directory}.read`;
  await cp(join(directory, 'journal'), copy, { recursive: true });
  const journal = await openJournal(copy, SETTINGS);
  const { blocks } = journal.state();
  await journal.close();
  await rm(copy, { recursive: true });
  return blocks;
}

/** Every sample in a directory, by "incarnation machine/stream sequence". */
async function samplesIn(directory: string, into: Map<string, Set<string>>): Promise<number> {
  const copy = `${directory}.read`;
  await cp(join(directory, 'journal'), copy, { recursive: true });
  const journal = await openJournal(copy, SETTINGS);
  let count = 0;
  for (let block = 0; block < journal.state().blocks; block++) {
    for (const bytes of (await journal.block(block)) ?? []) {
      const { payload } = readEntry(bytes);
      if (kindOf(payload) !== KIND.sample) continue;
      const { incarnation, machine, stream, sequence } = decodeSample(payload);
      const name = `${incarnation} ${machine}/${stream} ${sequence}`;
      into.set(name, (into.get(name) ?? new Set()).add(toHex(payload)));
      count += 1;
    }
  }
  await journal.close();
  await rm(copy, { recursive: true });
  return count;
}

/** How much of a gateway's log the others mirror, and how much they have seen. */
async function shownOf({ name }: LabGateway, others: readonly LabGateway[]) {
  const statuses = await Promise.all(others.map((other) => other.mustStatus()));
  const isOf = (origin: string) => origin.endsWith(`/${name}`);
  const seen = statuses.flatMap(({ witness, exchange }) => [
    ...Object.entries(witness.heads).flatMap(([origin, size]) => (isOf(origin) ? [size] : [])),
    ...exchange.unlinked.flatMap(({ origin, sizes }) => (isOf(origin) ? sizes : [])),
  ]);
  const mirrored = statuses.flatMap(({ exchange }) =>
    exchange.mirrors.flatMap(({ gateway, size }) => (gateway === name ? [size] : [])),
  );
  assert.ok(Math.max(...seen) > 0);
  return { seen: Math.max(...seen), mirrored: Math.max(...mirrored) };
}

/** Stops the gateway at a moment when a mirror has all that anybody has seen: the rest cannot be taken over. */
async function stopMirrored(gateway: LabGateway, others: readonly LabGateway[]): Promise<void> {
  for (;;) {
    await until('the newest checkpoint is mirrored', async () => {
      const { published } = (await gateway.mustStatus()).log;
      const { mirrored } = await shownOf(gateway, others);
      return mirrored >= published && published > 0;
    });
    await gateway.kill('SIGTERM');
    // What it had asked for is still being answered.
    await delay(1000);
    const { seen, mirrored } = await shownOf(gateway, others);
    if (mirrored >= seen) return;
    await gateway.start();
  }
}

/** As if the mirrors' disks had been lost: the gateway must not run. */
async function forgetMirror({ directory }: LabGateway, of: string): Promise<void> {
  const store = await openStore(join(directory, 'journal'), 'existing');
  const gone: Write[] = [];
  for await (const [key] of store.lengths({ from: `mirror/${of}/`, to: `mirror/${of}0` }))
    gone.push({ type: 'del', key });
  assert.ok(gone.length > 0);
  await store.write(gone);
  await store.close();
}

test('so many other members end a doubt that an honest one among them knows what was final', () => {
  for (const [members, wanted] of [
    [3, 2],
    [4, 3],
    [5, 3],
    [7, 5],
    [10, 7],
  ] as const)
    assert.equal(answersForDoubt(members), wanted);
  for (let members = 3; members < 200; members++) {
    const others = members - 1;
    const honestCosigners = quorum(members) - 1 - faults(members);
    assert.ok(answersForDoubt(members) + honestCosigners > others, `${members} members`);
    assert.ok(answersForDoubt(members) <= others, `${members} members`);
  }
});

test('a directory put back from a copy recovers by itself, or says what is to be done', async (t) => {
  const made = await consortium(t);
  const { gateways, program } = made;
  const [one, ...others] = gateways as [LabGateway, LabGateway, LabGateway];
  const backup = join(made.directory, 'backup');
  const lost = join(made.directory, 'lost');
  const logs = async () => {
    const told = gateways.map(async (gateway) => {
      const { standing, log, exchange, peers } = (await gateway.status()) ?? {};
      const now = JSON.stringify({ standing, log, exchange, peers });
      // What a round says every half second would hide the rest.
      const said = gateway.log().replace(/^.*federation: round.*\n/gm, '');
      return `--- ${gateway.name}\n${now}\n${said.slice(-3000)}`;
    });
    return (await Promise.all(told)).join('\n');
  };

  await made.startAll();
  await until('something is final', async () => (await one.mustStatus()).log.finalSize > 3, {
    details: logs,
  });
  await one.kill('SIGTERM');
  await copyOf(one, backup);
  const backed0 = await blocksIn(backup);
  const backed = await one.start().then(() => one.mustStatus());
  assert.equal(backed.journal.incarnation, 0, 'a stop and a start are no restore');

  const newer = await until(
    'samples, final checkpoints and a round are made after the copy',
    async () => {
      const now = await one.mustStatus();
      const enough =
        now.journal.entries > backed.journal.entries + 100 && now.log.finalSize > backed.log.size + 5;
      return enough && now.privacy!.charges > backed.privacy!.charges && now.federation.version > 0 && now;
    },
    { details: logs },
  );
  await stopMirrored(one, others);
  await copyOf(one, lost);
  await putBack(one, backup);

  await one.start();
  const recovered = one.log();
  assert.match(recovered, /this directory is a copy/);
  assert.match(recovered, /has (cosigned|seen) \d+ blocks of this log, and it ends at \d+/);
  assert.match(recovered, /blocks of the log are taken over/);
  const after = await until(
    'checkpoints go on and become final, and nobody doubts any more',
    async () => {
      const now = await one.mustStatus();
      return now.standing.doubt === null && now.log.finalSize > newer.log.size + 10 && now;
    },
    { details: logs },
  );
  t.diagnostic(
    recovered
      .split('\n')
      .filter((line) => /recovery:/.test(line))
      .join('\n'),
  );
  assert.ok(after.journal.incarnation > 2 ** 50);
  assert.ok(after.journal.lostBlocks > 0);
  assert.ok(after.privacy!.charges >= newer.privacy!.charges, 'what was spent is spent');
  await until(
    'a round is made with it',
    async () => {
      const { lastRound } = (await one.mustStatus()).federation;
      return (
        lastRound?.contributors.includes(one.name) &&
        (await one.mustStatus()).privacy!.charges > newer.privacy!.charges
      );
    },
    { details: logs },
  );
  await until('the others’ checkpoints become final with its cosignature', async () => {
    const statuses = await Promise.all(others.map((other) => other.mustStatus()));
    return statuses.every(({ log }) => log.finalSize > 0 && log.finalSize >= log.size - 8);
  });
  for (const gateway of gateways) {
    const { exchange } = await gateway.mustStatus();
    assert.deepEqual([exchange.evidence, exchange.frozen, exchange.disgraced], [[], [], []], gateway.name);
  }
  await stopMirrored(one, others);
  assert.deepEqual(await made.stopAll(), [0, 0, 0]);
  for (const gateway of gateways) {
    const checked = await made.verify(gateway);
    assert.equal(checked.code, 0, `${gateway.name}: ${checked.stderr}`);
  }
  const samples = new Map<string, Set<string>>();
  assert.ok((await samplesIn(lost, samples)) > 100);
  assert.ok((await samplesIn(one.directory, samples)) > 100);
  for (const [name, found] of samples) assert.equal(found.size, 1, `${name} was given twice`);

  // The same copy once more, and this time nobody is there who could say what was published.
  const second = join(made.directory, 'second');
  await copyOf(one, second);
  await putBack(one, backup);
  await one.start();
  await until(
    'it records on',
    async () => (await one.mustStatus()).journal.entries > backed.journal.entries + 50,
  );
  const alone = await one.mustStatus();
  assert.ok(alone.log.published <= backed0, 'no checkpoint is signed');
  assert.match(alone.standing.doubt ?? '', /is a copy, or was restored from one; 0 of 2 members/);
  await Promise.all(others.map((other) => other.start()));
  const behind = await until(
    'it learns that it is behind',
    async () => (await one.mustStatus()).standing.behind ?? false,
    {
      details: logs,
    },
  );
  assert.match(`${behind}`, /has (cosigned|seen) \d+ blocks of this log/);
  await until('it says so', () => /stop the gateway and run kosmos recover/.test(one.log()), {
    details: logs,
  });
  t.diagnostic((await kosmos(program, ['status', '--config', one.config])).stdout);
  const refused = await kosmos(program, ['recover', '--config', one.config]);
  assert.match(refused.stderr, /its daemon is running/);
  await one.kill('SIGTERM');
  const recovery = await kosmos(program, ['recover', '--config', one.config, '--json']);
  assert.equal(recovery.code, 0, recovery.stderr);
  const { outcome, moved, fork, published } = lastJson(recovery.stdout) as Record<string, number | string>;
  assert.deepEqual([outcome, fork], ['recovered', backed0]);
  assert.ok(Number(moved) > 3 && Number(published) > newer.log.size);
  const nothing = await kosmos(program, ['recover', '--config', one.config]);
  t.diagnostic(`${recovery.stderr}${nothing.stdout}`);
  assert.match(nothing.stdout, /there is nothing to recover/);
  await one.start();
  await until(
    'what was recorded alone is final',
    async () => {
      const { standing, log } = await one.mustStatus();
      return standing.doubt === null && log.finalSize > Number(published) + Number(moved);
    },
    { details: logs },
  );
  for (const gateway of gateways) {
    const { exchange } = await gateway.mustStatus();
    assert.deepEqual([exchange.evidence, exchange.frozen, exchange.disgraced], [[], [], []], gateway.name);
  }
  assert.deepEqual(await made.stopAll(), [0, 0, 0]);
  const checked = await made.verify(one);
  assert.equal(checked.code, 0, checked.stderr);
  await samplesIn(second, samples);
  await samplesIn(one.directory, samples);
  for (const [name, found] of samples) assert.equal(found.size, 1, `${name} was given twice`);

  // The same copy once more, and now nobody mirrors the log.
  await Promise.all(others.map((other) => forgetMirror(other, one.name)));
  await putBack(one, backup);
  await Promise.all(others.map((other) => other.start()));
  // Who is still starting is not waited for by the one that asks.
  await until('the others speak with each other', async () => {
    const all = await Promise.all(others.map((other) => other.mustStatus()));
    return all.every(({ peers }) => peers.some(({ connected }) => connected));
  });
  const ended = await kosmos(program, ['run', '--config', one.config]);
  assert.equal(ended.code, 1, ended.stderr);
  for (const said of [
    /no mirror gives the rest/,
    /Found: its log has \d+ blocks/,
    /Safe: /,
    /1\. wait until/,
    /2\. put a newer copy/,
    /3\. close this log/,
  ])
    assert.match(ended.stderr, said);
  t.diagnostic(ended.stderr);
  const dry = await kosmos(program, ['recover', '--config', one.config, '--dry-run']);
  assert.equal(dry.code, 1, dry.stderr);
  assert.match(dry.stderr, /no mirror gives the rest/);
});
