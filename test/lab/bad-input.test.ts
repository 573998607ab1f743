import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { keyPath } from '../../runtime/state/provenance/keys.ts';
import { createMosquitto, withoutMosquitto } from '../services/telemetry/helpers.ts';
import {
  assertGoesOn,
  type Consortium,
  createConsortium,
  type LabGateway,
  machineTable,
  untilLogged,
} from './consortium.ts';
import { type Ended, kosmos, labPort, type StartOptions, until } from './program.ts';

// One gateway of three runs; what is wrong is done to it, and it goes on.

let three: Consortium;
let gateway: LabGateway;
let absent: LabGateway;

before(async () => {
  three = await createConsortium({ gateways: 3, machines: 'live' });
  [gateway, absent] = three.gateways as [LabGateway, LabGateway];
  await gateway.start();
});

after(() => three?.remove());

function run(args: readonly string[], options: StartOptions = {}): Promise<Ended> {
  return kosmos(three.program, args, options);
}

/** A variant of a configuration, in a file of its own. */
async function changedConfig(change: (text: string) => string, of = absent): Promise<string> {
  const path = join(of.directory, `changed-${Math.random().toString(36).slice(2)}.toml`);
  await writeFile(path, change(await readFile(of.config, 'utf8')));
  return path;
}

test('a configuration with an unknown key, a wrong type and impossible values: all of it at once, with file and line, exit code 2', async () => {
  const config = await changedConfig((text) =>
    text
      .replace('[journal]\n', '[journal]\nmax_byte = "2GB"\n')
      .replace('commit_interval = "100ms"', 'commit_interval = 100')
      .replace(/listen = .*/, 'listen = "127.0.0.1:99999"')
      .replace('driver = "machine-monitor"', 'driver = "machine-monitr"')
      .replace('cycle = "20ms"', 'cycle = "20 parsecs"'),
  );
  const lines = (await readFile(config, 'utf8')).split('\n');
  const lineOf = (start: string) => lines.findIndex((line) => line.startsWith(start)) + 1;
  for (const args of [
    ['run', '--config', config],
    ['config', 'check', config],
  ]) {
    const { code, stderr } = await run(args);
    assert.equal(code, 2);
    for (const [line, what] of [
      [lineOf('max_byte ='), 'journal.max_byte: unknown key; did you mean max_bytes?'],
      [lineOf('commit_interval'), 'journal.commit_interval: 100 is a whole number, text is asked for'],
      [lineOf('listen'), 'peering.listen: "127.0.0.1:99999" is not a host and a port'],
      [
        lineOf('driver'),
        'machine[0].stream[0].driver: "machine-monitr" is not possible here; did you mean "machine-monitor"?',
      ],
      [lineOf('cycle'), 'simulation.cycle: "20 parsecs" is not a length of time'],
    ] as const) {
      const found = stderr
        .split('\n')
        .find((text) => text.includes(`${config}:${line}:`) && text.includes(what));
      assert.ok(found, `${line}: ${what}\n${stderr}`);
    }
    assert.match(stderr, /allowed: a length of time/);
  }
});

test('no configuration, no agreement, an agreement with a signature that is not its own, another gateway’s', async () => {
  const config = await run(['run', '--config', join(three.directory, 'nowhere.toml')]);
  assert.equal(config.code, 2);
  assert.match(config.stderr, /nowhere\.toml:1:1: the file cannot be read: there is no such file/);

  const agreement = (path: string) =>
    changedConfig((text) => text.replace('directory = "."\n', `directory = "."\nagreement = "${path}"\n`));
  const none = await run(['run', '--config', await agreement('nowhere.toml')]);
  assert.equal(none.code, 1);
  assert.match(
    none.stderr,
    /nowhere\.toml: there is no agreement\n {2}draft one with kosmos agreement draft/,
  );

  const text = await readFile(join(three.directory, 'agreement.toml'), 'utf8');
  await writeFile(join(absent.directory, 'unsigned.toml'), text);
  const unsigned = await run(['run', '--config', await agreement('unsigned.toml')]);
  assert.equal(unsigned.code, 1);
  assert.match(unsigned.stderr, /unsigned\.toml: the agreement is not signed/);

  // One more round than was signed for.
  await writeFile(join(absent.directory, 'other.toml'), text.replace('rounds = 500', 'rounds = 501'));
  await writeFile(
    join(absent.directory, 'other.toml.sigs'),
    await readFile(join(three.directory, 'agreement.toml.sigs')),
  );
  const other = await run(['run', '--config', await agreement('other.toml')]);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /the signatures are for another document than this agreement/);

  const stranger = await run([
    'run',
    '--config',
    await changedConfig((config) => config.replace('name = "borealis-1"', 'name = "borealis-2"')),
  ]);
  assert.equal(stranger.code, 2);
  assert.match(stranger.stderr, /the agreement names no gateway borealis-2 of borealis/);
});

test('a directory that is absent, whose key others may read, or which holds another gateway’s keys', async () => {
  const inDirectory = (path: string) =>
    changedConfig((text) =>
      text.replace('directory = "."\n', `directory = "${path}"\nagreement = "agreement.toml"\n`),
    );
  const nowhere = await run(['run', '--config', await inDirectory('nowhere')]);
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.stderr, /nowhere\/keys\/identity\.pem does not exist/);

  const foreign = await run(['run', '--config', await inDirectory('../ceres')]);
  assert.equal(foreign.code, 1);
  assert.match(foreign.stderr, /the identity key is not the one in the agreement/);

  const key = keyPath(absent.directory, 'log');
  await chmod(key, 0o644);
  const open = await run(['run', '--config', absent.config]);
  await chmod(key, 0o600);
  assert.equal(open.code, 1);
  assert.match(open.stderr, /log\.pem can be read by others \(mode 644\); run: chmod 600 /);
});

test('a second daemon on the same directory, and a port in use: a clear error, the first one goes on', async () => {
  const second = await run(['run', '--config', gateway.config]);
  assert.equal(second.code, 1);
  assert.match(
    second.stderr,
    /the journal in .*alpina\/journal is in use by another kosmos process; stop that one, or give this one a directory of its own/,
  );

  const taken = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => taken.listen(absent.port, '127.0.0.1', resolve));
  const port = await run(['run', '--config', absent.config]);
  await new Promise((resolve) => taken.close(resolve));
  assert.equal(port.code, 1);
  assert.match(
    port.stderr,
    new RegExp(
      `port 127\\.0\\.0\\.1:${absent.port} is in use by another program; stop it, or set another \\[peering\\] listen`,
    ),
  );
  await assertGoesOn(gateway);
  // Nothing of the second one is left in the way.
  assert.equal((await run(['verify', absent.directory])).code, 1, 'it never made a block');
});

test('a directory of another user', {
  skip: process.getuid?.() === 0 ? false : 'only root can become another user',
}, async (t) => {
  const nobody = { uid: 65_534, gid: 65_534 };
  await chmod(three.directory, 0o755);
  const able = spawnSync(process.execPath, [three.program, '--version'], nobody);
  if (able.status !== 0) return t.skip('another user may not read the program');
  const theirs = await run(['run', '--config', absent.config], nobody);
  assert.equal(theirs.code, 2);
  assert.match(theirs.stderr, /gateway\.toml:1:1: the file cannot be read: this user may not read it/);

  const home = await mkdtemp(join(tmpdir(), 'kosmos-nobody-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  await chmod(home, 0o755);
  const config = join(home, 'gateway.toml');
  const text = await readFile(absent.config, 'utf8');
  const agreement = join(three.directory, 'agreement.toml');
  await writeFile(
    config,
    text.replace(
      'directory = "."',
      `directory = ${JSON.stringify(absent.directory)}\nagreement = ${JSON.stringify(agreement)}`,
    ),
  );
  const keys = await run(['run', '--config', config], nobody);
  assert.equal(keys.code, 1);
  assert.match(keys.stderr, /identity\.pem may not be read by this user; check its owner and mode/);
  const status = await run(['status', '--directory', gateway.directory], nobody);
  assert.equal(status.code, 1);
  assert.match(status.stderr, /control\.sock may not be used by this user; join the group kosmos/);
});

test('recordings that are absent or cut off: the stream says so, the others go on', async () => {
  const data = join(absent.directory, 'data');
  await mkdir(data);
  const row = Array.from({ length: 26 }, (_, column) => (column < 2 ? '1' : '1.0')).join(' ');
  await writeFile(join(data, 'train_FD001.txt'), `${row}\n${row.slice(0, 40)}\n`);
  const settings = (directory: string) =>
    `directory = ${JSON.stringify(directory)}\nsubset = "FD001"\nengine = 1\n`;
  const original = await readFile(absent.config, 'utf8');
  await writeFile(
    absent.config,
    `${original}\n${machineTable('cut-off', 'cmapss', '0ms', settings(data))}\n${machineTable('missing', 'cmapss', '0ms', settings(join(data, 'no')))}`,
  );
  await absent.start();
  const trouble = await until('both say what is wrong', async () => {
    const { streams } = (await absent.mustStatus()).acquisition;
    const of = (machine: string) => streams.find((stream) => stream.machine === machine)?.trouble ?? '';
    const said = { cutOff: of('cut-off'), missing: of('missing') };
    return said.cutOff !== '' && said.missing !== '' ? said : undefined;
  });
  assert.match(
    trouble.cutOff,
    /train_FD001\.txt, line 2: \d+ columns instead of 26; has the file been cut off\?/,
  );
  assert.match(trouble.missing, /no\/train_FD001\.txt does not exist/);
  await assertGoesOn(absent);
  const shown = await run(['status', '--config', absent.config]);
  assert.match(shown.stdout, /failing +cut-off\/monitor: .*line 2/);
  assert.equal((await absent.kill('SIGTERM')).code, 0);
  assert.equal((await three.verify(absent)).code, 0);
  await writeFile(absent.config, original);
});

test('a broker that is not there: the gateway says so and goes on', async () => {
  const port = await labPort();
  const original = await readFile(absent.config, 'utf8');
  await writeFile(
    absent.config,
    original.replace('[telemetry]\n', `[telemetry]\nurl = "mqtt://127.0.0.1:${port}"\n`),
  );
  await absent.start();
  await untilLogged(
    absent,
    new RegExp(`telemetry: MQTT broker mqtt://127\\.0\\.0\\.1:${port}: .*ECONNREFUSED`),
  );
  const { telemetry } = await absent.mustStatus();
  assert.equal(telemetry.state, 'connecting');
  assert.match(telemetry.problem ?? '', /ECONNREFUSED/);
  await assertGoesOn(absent);
  assert.equal((await absent.kill('SIGTERM')).code, 0);
  await writeFile(absent.config, original);
});

test('a broker that refuses the password: logged without the password, the gateway goes on, and is let in later', {
  skip: withoutMosquitto,
}, async (t) => {
  const broker = await createMosquitto((directory) => [
    'allow_anonymous false',
    `password_file ${join(directory, 'passwords')}`,
  ]);
  t.after(() => broker.remove());
  spawnSync('mosquitto_passwd', ['-b', '-c', join(broker.directory, 'passwords'), 'north', 'correct horse']);
  await broker.start();
  const secret = join(absent.directory, 'mqtt-password');
  await writeFile(secret, 'wrong horse\n');
  const original = await readFile(absent.config, 'utf8');
  const lines = `[telemetry]\nurl = "mqtt://127.0.0.1:${broker.port}"\nusername = "north"\npassword_file = ${JSON.stringify(secret)}\nreconnect_limit = "500ms"\n`;
  await writeFile(absent.config, original.replace('[telemetry]\n', lines));
  await absent.start();
  await untilLogged(absent, /telemetry: MQTT broker .*check telemetry\.username/);
  assert.doesNotMatch(absent.log(), /horse/);
  await assertGoesOn(absent);
  await writeFile(secret, 'correct horse\n');
  await until('it is let in', async () => (await absent.mustStatus()).telemetry.state === 'online', {
    details: absent.log,
  });
  assert.equal((await absent.kill('SIGTERM')).code, 0);
  await writeFile(absent.config, original);
});

test('a full disk: the gateway says so, loses nothing that was acknowledged, and goes on when there is room', {
  skip: canMount() ? false : 'a small file system cannot be mounted here (root, tmpfs)',
}, async (t) => {
  const [, , ceres] = three.gateways as [LabGateway, LabGateway, LabGateway];
  const moved = `${ceres.directory}.moved`;
  await rename(ceres.directory, moved);
  await mkdir(ceres.directory);
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'none', ceres.directory]).status, 0);
  t.after(async () => {
    await ceres.kill('SIGKILL');
    spawnSync('umount', [ceres.directory]);
  });
  assert.equal(spawnSync('cp', ['-a', `${moved}/.`, ceres.directory]).status, 0);
  await ceres.start();
  await assertGoesOn(ceres);
  const filler = join(ceres.directory, 'filler');
  spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k'], { stdio: 'ignore' });
  const full = await until(
    'it says that it cannot write',
    async () => {
      const { journal } = await ceres.mustStatus();
      return journal.trouble ? journal : undefined;
    },
    { details: ceres.log },
  );
  assert.match(String(full.trouble), /No space left/);
  await truncate(filler, 0);
  await until(
    'it writes again',
    async () => {
      const { journal } = await ceres.mustStatus();
      return !journal.trouble && journal.entries > full.entries + 20;
    },
    { details: ceres.log },
  );
  assert.equal((await ceres.kill('SIGTERM')).code, 0);
  const checked = await three.verify(ceres);
  assert.equal(checked.code, 0, checked.stderr);
});

function canMount(): boolean {
  if (process.getuid?.() !== 0) return false;
  const at = spawnSync('mktemp', ['-d'], { encoding: 'utf8' }).stdout.trim();
  const able = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', at]).status === 0;
  if (able) spawnSync('umount', [at]);
  spawnSync('rmdir', [at]);
  return able;
}
