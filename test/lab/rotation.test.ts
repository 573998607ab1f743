/** New keys for one gateway while the others run on; then its log key is revoked. One step after the other. */
import assert from 'node:assert/strict';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Consortium, createConsortium, type LabGateway } from './consortium.ts';
import { type Ended, kosmos, lastJson, until } from './program.ts';

const PURPOSES = ['sample', 'log', 'witness', 'tls'];

let three: Consortium;
let changed: LabGateway;
let others: readonly LabGateway[];

before(async () => {
  three = await createConsortium({ gateways: 3, machines: 'live', commitInterval: '20ms' });
  [changed, ...others] = three.gateways as [LabGateway, LabGateway, LabGateway];
  for (const { config } of three.gateways)
    await appendFile(config, '\n[mirror]\ninterval = "200ms"\ngossip_interval = "400ms"\n');
  await three.startAll();
});

after(() => three?.remove());

async function ok(...args: string[]): Promise<Ended> {
  const ended = await kosmos(three.program, args);
  assert.equal(ended.code, 0, `${args.join(' ')}: ${ended.stderr}`);
  return ended;
}

const file = (name: string) => join(three.directory, name);

async function exported(name: string, sequence: string): Promise<void> {
  await ok('export', '--directory', changed.directory, '--sample', sequence, '--output', file(name));
}

/** What a gateway's daemon knows of the keys of the one that changes. */
async function keysSeenBy(one: LabGateway) {
  const { stdout } = await ok(
    ...['keys', 'list', '--directory', one.directory, '--name', changed.name, '--json'],
  );
  return lastJson(stdout).keys as readonly {
    readonly purpose: string;
    readonly state: string;
    readonly serial: number;
    readonly id: string;
  }[];
}

async function currentSerials(one: LabGateway): Promise<readonly number[]> {
  const rows = await keysSeenBy(one);
  return PURPOSES.map(
    (purpose) => rows.find((row) => row.purpose === purpose && row.state === 'current')!.serial,
  );
}

/** Waits for checkpoints of every gateway that were signed from now on and that all three have cosigned. */
async function allFinalAgain(which: readonly LabGateway[] = three.gateways): Promise<void> {
  for (const one of which) {
    const { published } = (await one.mustStatus()).log;
    await until(
      `new checkpoints of ${one.name} are final with all three`,
      async () => {
        const { log } = await one.mustStatus();
        return log.finalSize > published && log.cosigners.length === 3;
      },
      { details: one.log },
    );
  }
}

test('before: rounds, final checkpoints, an export', async () => {
  await until('a model', async () => (await changed.mustStatus()).federation.version > 0);
  await allFinalAgain();
  await exported('before.kosmos', 'press-1/monitor/0/5');
  await ok('verify', file('before.kosmos'));
});

test('keys rotate wants a gateway that does not run, and gives it new keys of every purpose', async () => {
  const flags = PURPOSES.flatMap((purpose) => ['--purpose', purpose]);
  const running = await kosmos(three.program, ['keys', 'rotate', '--directory', changed.directory, ...flags]);
  assert.equal(running.code, 1);
  assert.match(running.stderr, /its daemon is running/);
  assert.equal((await changed.kill('SIGTERM')).code, 0);
  const made = await ok('keys', 'rotate', '--directory', changed.directory, ...flags, '--json');
  assert.deepEqual(lastJson(made.stdout).purposes, PURPOSES);
  // Between rotation and start the directory verifies as it is.
  await ok('verify', changed.directory);
  await changed.start();
});

test('the others learn of it, connections come back, and every checkpoint becomes final with all three', async () => {
  for (const one of three.gateways) {
    await until(`${one.name} knows the new keys`, async () =>
      (await currentSerials(one)).every((serial) => serial === 1),
    );
    await until(`${one.name} is connected to both others`, async () =>
      (await one.mustStatus()).peers.every(({ connected }) => connected),
    );
  }
  await allFinalAgain();
  for (const one of three.gateways) {
    const { exchange } = await one.mustStatus();
    assert.deepEqual([exchange.evidence, exchange.frozen], [[], []]);
  }
});

test('a round is still possible', async () => {
  const versions = await Promise.all(
    three.gateways.map(async (one) => (await one.mustStatus()).federation.version),
  );
  const version = Math.max(...versions);
  for (const one of three.gateways) {
    await until(
      `a later model at ${one.name}`,
      async () => (await one.mustStatus()).federation.version > version + 1,
      { details: one.log },
    );
  }
});

test('an export from before and one from after verify', async () => {
  await ok(
    ...['export', '--directory', changed.directory, '--machine', 'press-1', '--output', file('all.kosmos')],
  );
  const statements = join(changed.directory, 'keys', 'statements');
  await ok('verify', file('before.kosmos'), '--agreement', join(changed.directory, 'agreement.toml'));
  await ok('verify', file('all.kosmos'), '--agreement', join(changed.directory, 'agreement.toml'));
  const report = lastJson(
    (await ok('verify', file('all.kosmos'), '--statements', statements, '--json')).stdout,
  );
  assert.ok((report.samples as number) > 10);
});

test('the company revokes the log key: taken in by a running daemon, its new checkpoints are refused', async () => {
  await allFinalAgain();
  const revoked = file('revoked');
  await ok(
    ...[
      'keys',
      'revoke',
      '--directory',
      changed.directory,
      '--member-key',
      join(changed.directory, 'keys', 'member.pem'),
    ],
    ...['--purpose', 'log', '--reason', 'the disk was seen elsewhere', '--out', revoked],
  );
  const [accepting] = others as [LabGateway];
  const taken = lastJson(
    (await ok('keys', 'accept', revoked, '--directory', accepting.directory, '--json')).stdout,
  );
  assert.equal(taken.told, true);
  for (const one of others) {
    await until(`${one.name} knows of the revocation`, async () =>
      (await keysSeenBy(one)).some(({ purpose, state }) => purpose === 'log' && state === 'revoked'),
    );
  }
  const { finalSize } = (await changed.mustStatus()).log;
  const heads = await Promise.all(others.map(async (one) => (await one.mustStatus()).witness.heads));
  await allFinalAgain(others);
  await until(
    'it has gone on recording',
    async () => (await changed.mustStatus()).journal.blocks > finalSize + 50,
  );
  const origin = `lab/${changed.member}/${changed.name}`;
  for (const [index, one] of others.entries()) {
    const after = (await one.mustStatus()).witness.heads;
    assert.equal(after[origin], heads[index]![origin], `${one.name} has cosigned nothing since`);
  }
  assert.match(changed.log(), /keys .*log.* revoked/);
});

test('what it exported earlier still verifies with the revocation in hand; all directories verify', async () => {
  const statements = ['--statements', file('revoked')];
  await ok('verify', file('before.kosmos'), ...statements);
  await ok('verify', file('all.kosmos'), ...statements);
  assert.deepEqual(await three.stopAll(), [0, 0, 0]);
  for (const one of three.gateways) {
    const report = lastJson((await ok('verify', one.directory, '--json')).stdout);
    assert.equal(report.mirrors, 2);
    assert.equal(report.statements, 2);
    assert.ok((report.mirroredLeaves as number) > 0);
  }
});

test('with a new log key it is back', async () => {
  await ok('keys', 'rotate', '--directory', changed.directory, '--purpose', 'log');
  await three.startAll();
  await allFinalAgain();
  assert.deepEqual(await three.stopAll(), [0, 0, 0]);
  for (const one of three.gateways) await ok('verify', one.directory);
});
