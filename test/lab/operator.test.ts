import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { machineTable } from './consortium.ts';
import {
  builtKosmos,
  type Ended,
  kosmos,
  labPort,
  lastJson,
  ROOT,
  type Started,
  startKosmos,
  until,
  within,
} from './program.ts';

// One after the other, as the operators of three companies would: each test is a step, and needs those before it.

const COMPANIES = ['acme', 'bolt', 'cogs'];

let program: string;
let home: string;
const running: Started[] = [];

before(async () => {
  program = await builtKosmos();
  home = await mkdtemp(join(tmpdir(), 'kosmos-operator-'));
});

after(async () => {
  for (const { child } of running) child.kill('SIGKILL');
  await Promise.all(running.map(({ ended }) => ended));
  await rm(home, { recursive: true, force: true });
});

function run(...args: string[]): Promise<Ended> {
  return kosmos(program, args, { cwd: home });
}

async function ok(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  assert.equal(code, 0, `kosmos ${args.join(' ')}: ${stderr}`);
  return stdout;
}

test('init: a directory with keys that only the owner may read, and a card without a secret', async () => {
  for (const company of COMPANIES) {
    const args = [
      '--directory',
      company,
      '--member',
      company,
      '--name',
      `${company}-1`,
      '--member-key',
      `${company}.pem`,
    ];
    await ok('init', ...args, '--address', `127.0.0.1:${await labPort()}`, '--json');
    for (const key of [`${company}/keys/identity.pem`, `${company}/keys/tls.pem`, `${company}.pem`]) {
      assert.equal((await stat(join(home, key))).mode & 0o777, 0o600, key);
    }
    assert.doesNotMatch(await readFile(join(home, company, 'card.json'), 'utf8'), /PRIVATE/);
  }
  const again = await run(
    'init',
    '--directory',
    'acme',
    '--member',
    'acme',
    '--name',
    'acme-1',
    '--member-key',
    'acme.pem',
    '--address',
    'x:1',
  );
  assert.equal(again.code, 1);
  assert.match(again.stderr, /holds a gateway's keys already/);
  const nowhere = await run(
    'init',
    '--directory',
    'd',
    '--member',
    'acme',
    '--name',
    'd',
    '--member-key',
    'acme.pem',
    '--address',
    'no port',
  );
  assert.equal(nowhere.code, 2);
});

test('agreement draft: a document from the cards; faulty cards and a document that exists are refused', async () => {
  const cards = COMPANIES.map((company) => `${company}/card.json`);
  const args = [
    '--out',
    'agreement.toml',
    '--consortium',
    'trio',
    '--sheet',
    join(ROOT, 'config/datasheets/simulated-machine.toml'),
    '--rounds',
    '40',
  ];
  await writeFile(join(home, 'no-card.json'), '{"member": ');
  const noCard = await run('agreement', 'draft', ...cards, 'no-card.json', ...args);
  assert.equal(noCard.code, 2);
  assert.match(noCard.stderr, /no-card\.json: it is not JSON/);
  const two = await run('agreement', 'draft', ...cards.slice(0, 2), ...args);
  assert.equal(two.code, 2);
  assert.match(two.stderr, /member/);
  assert.match(
    await ok('agreement', 'draft', ...cards, ...args),
    /^agreement\.toml: 3 members, hash [0-9a-f]{64}\n/,
  );
  const again = await run('agreement', 'draft', ...cards, ...args);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /it exists already/);
});

async function writeConfig(company: string, machines: string): Promise<void> {
  const card = JSON.parse(await readFile(join(home, company, 'card.json'), 'utf8')) as { address: string };
  const text = `[gateway]\nmember = "${company}"\nname = "${company}-1"\ndirectory = "${company}"\nagreement = "agreement.toml"\n\n[journal]\ncommit_interval = "100ms"\n\n[peering]\nlisten = "${card.address}"\n\n${machines}`;
  await writeFile(join(home, `${company}.toml`), text);
}

test('config check: in order; an agreement that not all have signed is not in force', async () => {
  const machine = machineTable(
    'press-1',
    'machine-monitor',
    '20ms',
    'bus = "sim:0"\ncontact = { chip = "sim", offset = 0 }\n',
  );
  for (const company of COMPANIES)
    await writeConfig(company, `[simulation]\nseed = 3\nmachines = 1\ncycle = "20ms"\n\n${machine}`);
  assert.equal(await ok('config', 'check', 'acme.toml'), 'acme.toml is in order: 1 machines\n');

  const unsigned = await run('run', '--config', 'acme.toml');
  assert.equal(unsigned.code, 1);
  assert.match(
    unsigned.stderr,
    /agreement\.toml: the agreement is not signed\n {2}sign it: kosmos agreement sign /,
  );

  const stranger = await run('agreement', 'sign', 'agreement.toml', '--member-key', 'acme/keys/log.pem');
  assert.equal(stranger.code, 1);
  assert.match(stranger.stderr, /this key belongs to no member of the agreement/);

  assert.equal(
    await ok('agreement', 'sign', 'agreement.toml', '--member-key', 'acme.pem'),
    'signed; still missing: bolt, cogs\n',
  );
  const half = await run('run', '--config', 'acme.toml');
  assert.equal(half.code, 1);
  assert.match(
    half.stderr,
    /the agreement is not signed by bolt, cogs\n {2}every member signs, then it is in force/,
  );
  const shown = await run('agreement', 'show', 'agreement.toml');
  assert.equal(shown.code, 1);
  assert.match(shown.stdout, /acme: acme-1; has signed\nbolt: bolt-1; has NOT signed\n/);

  assert.deepEqual(
    lastJson(await ok('agreement', 'sign', 'agreement.toml', '--member-key', 'bolt.pem', '--json')).missing,
    ['cogs'],
  );
  assert.match(
    await ok('agreement', 'sign', 'agreement.toml', '--member-key', 'cogs.pem'),
    /^signed by all: /,
  );
  assert.match(
    await ok('agreement', 'show', 'agreement.toml'),
    /^consortium trio, epoch 1, 40 rounds, epsilon 8, delta 0\.00001, unit episode\n/,
  );
});

test('run, status, maintenance add: the log gets a digest of what was entered', async () => {
  for (const company of COMPANIES)
    running.push(startKosmos(program, ['run', '--config', `${company}.toml`], { cwd: home }));
  const status = await until('acme knows its peers and samples', async () => {
    const { code, stdout } = await run('status', '--config', 'acme.toml', '--json');
    if (code !== 0) return undefined;
    const seen = JSON.parse(stdout) as {
      peers: { connected: boolean }[];
      acquisition: { streams: { samples: number }[] };
    };
    return seen.peers.every((peer) => peer.connected) && seen.acquisition.streams[0]!.samples > 10 && seen;
  });
  assert.equal(status.peers.length, 2);
  assert.match(
    await ok('status', '--directory', 'acme'),
    /gateway {2,}acme-1 of acme, consortium trio, epoch 1\n[\s\S]*peer {2,}bolt-1 connected/,
  );

  const args = [
    '--directory',
    'acme',
    '--machine',
    'press-1',
    '--type',
    'maintenance',
    '--note',
    'bearing replaced',
  ];
  assert.match(
    await ok('maintenance', 'add', ...args),
    /^maintenance of press-1 is in the log: [0-9a-f]{64}\n$/,
  );
  const { digest } = lastJson(
    await ok(
      'maintenance',
      'add',
      '--config',
      'acme.toml',
      '--machine',
      'press-1',
      '--type',
      'fault',
      '--json',
    ),
  );
  assert.match(String(digest), /^[0-9a-f]{64}$/);
  const wrong = await run(
    'maintenance',
    'add',
    '--directory',
    'acme',
    '--machine',
    'press-1',
    '--type',
    'repair',
  );
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /--type is one of fault, failure, maintenance, not repair/);
  const nobody = await run('maintenance', 'add', '--machine', 'press-1', '--type', 'fault');
  assert.equal(nobody.code, 2);
  assert.match(nobody.stderr, /which gateway\?\n {2}give --directory DIR or --config FILE/);
  const tooLong = await run(
    'maintenance',
    'add',
    '--directory',
    'acme',
    '--machine',
    'press-1',
    '--type',
    'fault',
    '--note',
    'x'.repeat(5000),
  );
  assert.equal(tooLong.code, 1);
  assert.match(tooLong.stderr, /note/);
});

test('verify: not while the daemon runs; afterwards everything holds, and no daemon answers any more', async () => {
  const busy = await run('verify', 'acme', '--agreement', 'agreement.toml');
  assert.equal(busy.code, 1);
  assert.match(busy.stderr, /its daemon is running/);
  for (const { child } of running) child.kill('SIGTERM');
  for (const one of running) assert.equal((await within(20_000, one.ended))?.code, 0, one.stderr());
  assert.match(await ok('verify', 'acme', '--agreement', 'agreement.toml'), /^acme-1 holds: /);
  const report = lastJson(
    await ok('verify', 'bolt', '--agreement', 'agreement.toml', '--gateway', 'bolt-1', '--json'),
  );
  assert.equal(report.gateway, 'bolt-1');
  const other = await run('verify', 'bolt', '--agreement', 'agreement.toml', '--gateway', 'cogs-1');
  assert.equal(other.code, 1, 'another gateway’s keys signed it');
  assert.match(other.stderr, /checkpoint of size \d+|signed by another key/);
  const gone = await run('status', '--directory', 'acme');
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /no kosmos daemon runs at .*acme\/control\.sock/);
});
