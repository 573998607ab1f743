import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import {
  createMosquitto,
  type Mosquitto,
  mosquittoSub,
  type Subscriber,
  withoutMosquitto,
} from '../services/telemetry/helpers.ts';
import {
  builtKosmos,
  childrenOf,
  isAlive,
  kosmos,
  lastJson,
  ROOT,
  type Started,
  startKosmos,
  until,
  within,
} from './program.ts';
import { writeRecordings } from './recordings.ts';

const LIMIT_MS = 240_000;

/** What the last line of --json holds, whatever comes after it. */
const KEYS = [
  'gateways',
  'rounds',
  'samples',
  'signaturesVerified',
  'checkpoints',
  'cosignatures',
  'test',
  'epsilon',
  'delta',
  'unit',
  'wallSeconds',
  'failures',
];

async function directory(t: TestContext): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'kosmos-demo-'));
  t.after(() => rm(made, { recursive: true, force: true, maxRetries: 3 }));
  return made;
}

function assertSummary(stdout: string, wanted: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const summary = lastJson(stdout);
  for (const key of KEYS) assert.ok(key in summary, `${key} is absent`);
  for (const [key, value] of Object.entries(wanted)) assert.deepEqual(summary[key], value, key);
  for (const key of ['samples', 'signaturesVerified', 'checkpoints', 'cosignatures', 'wallSeconds'])
    assert.ok(Number(summary[key]) > 0, key);
  const { rmse, score, engines } = summary.test as Record<string, unknown>;
  assert.ok(Number(rmse) > 0 && Number(rmse) < 125, `rmse ${String(rmse)}`);
  assert.ok(Number(score) > 0, `score ${String(score)}`);
  assert.ok(Number(engines) > 0);
  return summary;
}

async function assertAllVerify(program: string, home: string, gateways: number): Promise<void> {
  const names = (await readdir(home, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
  assert.equal(names.length, gateways);
  for (const name of names) {
    const { code, stderr } = await kosmos(program, ['verify', join(home, name)]);
    assert.equal(code, 0, `${name}: ${stderr}`);
  }
}

test('demo --rounds 2 --json: three gateways of three companies, rounds, a summary on the last line, all of it verifies', async (t) => {
  const program = await builtKosmos();
  const home = join(await directory(t), 'demo');
  const { code, stdout, stderr } = await kosmos(
    program,
    ['demo', '--rounds', '2', '--json', '--directory', home],
    { limitMs: LIMIT_MS },
  );
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trimEnd().split('\n').length, 1);
  const summary = assertSummary(stdout, {
    gateways: 3,
    rounds: 2,
    delta: 1e-5,
    unit: 'episode',
    failures: [],
  });
  const epsilon = Number(summary.epsilon);
  assert.ok(epsilon > 0 && epsilon <= 8, `epsilon ${epsilon}`);
  for (const gateway of ['alpina', 'borealis', 'ceres']) {
    // Each stopped by itself, none had to be killed.
    assert.match(await readFile(join(home, gateway, 'gateway.log'), 'utf8'), /gateway: stopped\n$/);
  }
  await assertAllVerify(program, home, 3);
});

const shared = join(ROOT, '..', 'shared', 'data', 'cmapss');

test('demo --data: recorded engines dealt out to five gateways, without privacy for comparison', async (t) => {
  const program = await builtKosmos();
  const home = await directory(t);
  const real = existsSync(join(shared, 'train_FD001.txt'));
  const data = real ? shared : join(home, 'data');
  if (!real) await writeRecordings(data, 20);
  const args = [
    '--data',
    data,
    '--subset',
    'FD001',
    '--gateways',
    '5',
    '--rounds',
    '2',
    '--epsilon',
    'off',
    '--json',
  ];
  const { code, stdout, stderr } = await kosmos(
    program,
    ['demo', ...args, '--directory', join(home, 'demo')],
    { limitMs: LIMIT_MS },
  );
  assert.equal(code, 0, stderr);
  const summary = assertSummary(stdout, {
    gateways: 5,
    rounds: 2,
    epsilon: 'off',
    unit: 'none',
    failures: [],
  });
  const { rmse, engines } = summary.test as { rmse: number; engines: number };
  assert.equal(engines, real ? 100 : 20);
  assert.match(stderr, /no privacy/);
  if (!real) return;
  assert.equal(summary.samples, 20_631);
  // Guessing the mean comes to 40.6.
  assert.ok(rmse < 38, `rmse ${rmse}`);
});

/** Ends it, however far it came; its gateways end when it does. */
async function end({ child, ended }: Started): Promise<void> {
  child.kill('SIGKILL');
  await ended;
}

/** The processes of the three gateways. */
function untilGateways(demo: Started): Promise<readonly number[]> {
  return until(
    'three gateways run',
    () => {
      const children = childrenOf(demo.child.pid!);
      return children.length === 3 && children;
    },
    { details: demo.stderr },
  );
}

function linesOf(subscriber: Subscriber, topic: RegExp): readonly string[] {
  return subscriber.lines.filter((line) => topic.test(line.split(' ', 1)[0]!));
}

describe('a demo without an end', { skip: process.platform === 'linux' ? false : 'needs /proc' }, () => {
  const names = ['alpina-1', 'borealis-1', 'ceres-1'];
  let program: string;
  let parent: string;
  let home: string;
  let demo: Started;
  let gateways: readonly number[];
  let broker: Mosquitto | undefined;
  let all: Subscriber | undefined;

  before(async () => {
    program = await builtKosmos();
    parent = await mkdtemp(join(tmpdir(), 'kosmos-demo-'));
    home = join(parent, 'demo');
    const args = ['demo', '--json', '--directory', home];
    if (!withoutMosquitto) {
      broker = await createMosquitto();
      await broker.start();
      all = await mosquittoSub(broker.port, ['-q', '1', '-t', 'kosmos/demo/#']);
      args.push('--broker', `mqtt://127.0.0.1:${broker.port}`);
    }
    demo = startKosmos(program, args);
    gateways = await untilGateways(demo);
    await until('a model', () => /round [1-9]\d* of/.test(demo.stderr()), {
      limitMs: LIMIT_MS,
      details: demo.stderr,
    });
  });

  after(async () => {
    await end(demo);
    await all?.stop();
    await broker?.remove();
    await rm(parent, { recursive: true, force: true, maxRetries: 3 });
  });

  test('--broker: mosquitto_sub sees states, predictions and samples', {
    skip: withoutMosquitto,
  }, async (t) => {
    for (const name of names) {
      await until(
        `${name} is online, samples and predicts`,
        () =>
          linesOf(all!, new RegExp(`^kosmos/demo/${name}/state$`))
            .at(-1)
            ?.endsWith(' online') &&
          linesOf(all!, new RegExp(`^kosmos/demo/${name}/sample/press-\\d/monitor$`)).length > 0 &&
          linesOf(all!, new RegExp(`^kosmos/demo/${name}/prediction/press-\\d$`)).length > 0,
        { limitMs: LIMIT_MS, details: demo.stderr },
      );
    }
    // Who comes later gets what is retained at once: the states and the newest predictions.
    const late = await mosquittoSub(broker!.port, [
      '-t',
      'kosmos/demo/+/state',
      '-t',
      'kosmos/demo/+/prediction/+',
      '--retained-only',
    ]);
    t.after(() => late.stop());
    await until('what is retained', () =>
      names.every((name) => late.lines.includes(`kosmos/demo/${name}/state online`)),
    );
    const line = await until('a retained prediction', () => linesOf(late, /\/prediction\//)[0]);
    const prediction = JSON.parse(line.slice(line.indexOf(' ') + 1)) as Record<string, unknown>;
    assert.ok(
      Number(prediction.remaining) >= 0 && prediction.cap === 125 && Number(prediction.model) > 0,
      line,
    );
  });

  test('a second one keeps off its directory', async () => {
    const second = await kosmos(program, ['demo', '--rounds', '1', '--json', '--directory', home]);
    assert.equal(second.code, 1);
    assert.match(
      second.stderr,
      new RegExp(
        `demo: ${home}: a demo runs there already \\(pid ${demo.child.pid}\\)\\n {2}name another --directory`,
      ),
    );
    assert.match(
      String((lastJson(second.stdout).error as { what: string }).what),
      /a demo runs there already/,
    );
    assert.ok(gateways.every(isAlive), 'the first one goes on');
  });

  test('Ctrl-C gives the summary and leaves no process behind', async () => {
    const processes = [...gateways, ...gateways.flatMap(childrenOf)];
    demo.child.kill('SIGINT');
    const ended = await within(30_000, demo.ended);
    assert.equal(ended?.code, 0, demo.stderr());
    assertSummary(ended?.stdout ?? '', { gateways: 3, failures: [] });
    await until('no process is left', () => !processes.some(isAlive), { limitMs: 10_000 });
    await assertAllVerify(program, home, 3);
    if (!all) return;
    const isOff = (name: string) =>
      linesOf(all!, new RegExp(`/${name}/state$`))
        .at(-1)
        ?.endsWith(' offline');
    await until('all say that they are off', () => names.every(isOff));
  });
});

test('a demo that is killed takes its gateways with it, and the next one clears away what it left', {
  skip: process.platform === 'linux' ? false : 'needs /proc',
}, async (t) => {
  const program = await builtKosmos();
  const home = join(await directory(t), 'demo');
  const demo = startKosmos(program, ['demo', '--directory', home]);
  t.after(() => end(demo));
  const gateways = await untilGateways(demo);
  await until('they answer', () =>
    ['alpina', 'borealis', 'ceres'].every((name) => existsSync(join(home, name, 'control.sock'))),
  );
  demo.child.kill('SIGKILL');
  await until('no gateway is left', () => !gateways.some(isAlive), { limitMs: 30_000 });

  const next = startKosmos(program, ['demo', '--directory', home]);
  t.after(() => end(next));
  await untilGateways(next);
  next.child.kill('SIGTERM');
  // Stopped before a gateway answers, it has nothing to sum up, and says so.
  const ended = await within(30_000, next.ended);
  assert.ok(
    ended && (ended.code === 0 || /stopped before any gateway answered/.test(ended.stderr)),
    next.stderr(),
  );
});
