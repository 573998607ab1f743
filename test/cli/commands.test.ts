import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { builtKosmos, type Ended, kosmos, lastJson, ROOT } from '../lab/program.ts';
import { writeRecordings } from '../lab/recordings.ts';

const COMMANDS = [
  'demo',
  'run',
  'status',
  'predict',
  'privacy',
  'privacy open',
  'privacy check',
  'verify',
  'export',
  'recover',
  'init',
  'agreement draft',
  'agreement sign',
  'agreement show',
  'keys list',
  'keys rotate',
  'keys revoke',
  'keys accept',
  'maintenance add',
  'config check',
  'config doc',
  'drivers',
  'doctor',
];

let program: string;
let home: string;

before(async () => {
  program = await builtKosmos();
  home = await mkdtemp(join(tmpdir(), 'kosmos-cli-'));
});

after(() => rm(home, { recursive: true, force: true }));

function run(...args: string[]): Promise<Ended> {
  return kosmos(program, args, { cwd: home });
}

test('--help names every command, and no other', async () => {
  const { code, stdout } = await run('--help');
  assert.equal(code, 0);
  const listed = [...stdout.matchAll(/^ {2}([a-z]+(?: [a-z]+)?) {2,}\S/gm)].map((match) => match[1]);
  assert.deepEqual(listed, COMMANDS);
});

for (const command of COMMANDS) {
  test(`${command}: --help, and an option that it does not know`, async () => {
    const [help, wrong] = await Promise.all([
      run(...command.split(' '), '--help'),
      run(...command.split(' '), '--no-such-option', '--json'),
    ]);
    assert.equal(help.code, 0, help.stderr);
    assert.ok(help.stdout.startsWith(`Usage: kosmos ${command} `), help.stdout);
    assert.match(help.stdout, /--json/);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, new RegExp(`^kosmos ${command}: there is no option --no-such-option`, 'm'));
    assert.match(
      String((lastJson(wrong.stdout).error as { what: string }).what),
      /no option --no-such-option/,
    );
  });
}

test('an unknown command and no command are wrong use, a near miss gets a hint', async () => {
  const [unknown, near, half, none, version] = await Promise.all([
    run('frobnicate', '--json'),
    run('verfy', 'x'),
    run('agreement'),
    run(),
    run('--version'),
  ]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /^kosmos: there is no command frobnicate\n/);
  assert.deepEqual(lastJson(unknown.stdout), { error: { what: 'there is no command frobnicate' } });
  assert.equal(near.code, 2);
  assert.match(near.stderr, /there is no command verfy; did you mean verify\?/);
  assert.equal(half.code, 2);
  assert.match(half.stderr, /there are agreement draft, agreement sign, agreement show/);
  assert.equal(none.code, 2);
  assert.equal(none.stdout, '');
  assert.match(none.stderr, /^Usage: kosmos COMMAND/);
  assert.equal(version.code, 0);
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
});

test('commands that need nothing give their result as JSON', async () => {
  const example = join(ROOT, 'config', 'gateway.toml');
  const [doctor, doc, drivers, driver, check] = await Promise.all([
    run('doctor', '--json'),
    run('config', 'doc', '--json'),
    run('drivers', '--json'),
    run('drivers', 'bme280', '--json'),
    run('config', 'check', example, '--json'),
  ]);
  for (const { code, stderr } of [doctor, doc, drivers, driver, check]) assert.equal(code, 0, stderr);
  assert.equal(lastJson(doctor.stdout).node, process.version);
  assert.match(String(lastJson(doc.stdout).toml), /\[gateway\]/);
  assert.ok((lastJson(drivers.stdout).drivers as string[]).includes('machine-monitor'));
  assert.match(String(lastJson(driver.stdout).toml), /address/);
  assert.deepEqual(lastJson(check.stdout).ok, true);
});

test('numbers and choices are judged together, before anything is done', async () => {
  const { code, stderr } = await run(
    'demo',
    '--gateways',
    '2',
    '--rounds',
    '1.5',
    '--unit',
    'sample',
    '--subset',
    'FD009',
    'more',
  );
  assert.equal(code, 2);
  for (const said of [
    '--gateways is a whole number from 3 to 20, not 2',
    '--rounds is a whole number from 1 to 100000, not 1.5',
    '--unit is one of window, episode, not sample',
    '--subset is one of FD001, FD002, FD003, FD004, not FD009',
    'more is too much: demo takes no arguments',
  ]) {
    assert.ok(stderr.includes(`kosmos demo: ${said}`), `${said}\n${stderr}`);
  }
  for (const [option, value] of [
    ['--epsilon', '0'],
    ['--epsilon', 'none'],
    ['--broker', 'http://broker'],
    ['--broker', 'mqtt://me:secret@broker'],
  ]) {
    const refused = await run('demo', option!, value!);
    assert.equal(refused.code, 2, `${option} ${value}: ${refused.stderr}`);
    assert.ok(refused.stderr.startsWith(`kosmos demo: ${option} ${value}`), refused.stderr);
  }
});

test('a demo keeps off a directory that is not a demo’s, and names a file of ranges or data that is not there', async () => {
  await writeFile(join(home, 'precious'), 'mine');
  const [foreign, ranges, data] = await Promise.all([
    run('demo', '--directory', home),
    run('demo', '--directory', join(home, 'a'), '--ranges', 'nowhere.toml'),
    run('demo', '--directory', join(home, 'b'), '--data', 'nowhere', '--json'),
  ]);
  assert.equal(foreign.code, 1);
  assert.match(foreign.stderr, /this is not the directory of a demo\n {2}name another --directory/);
  assert.equal(ranges.code, 2);
  assert.match(ranges.stderr, /nowhere\.toml:1:1: the file cannot be read: there is no such file/);
  assert.equal(data.code, 1);
  assert.match(
    data.stderr,
    /nowhere\/train_FD001\.txt does not exist\. The directory needs the text files of NASA's C-MAPSS set/,
  );
  assert.match(
    String((lastJson(data.stdout).error as { what: string }).what),
    /train_FD001\.txt does not exist/,
  );
});

test('a demo says which line of which file of C-MAPSS is cut off', async () => {
  const data = join(home, 'data');
  await writeRecordings(data, 6);
  const row = `7 1 ${Array.from({ length: 24 }, () => '1.0').join(' ')}`;
  await appendFile(join(data, 'train_FD001.txt'), row.slice(0, -30));
  const { code, stderr } = await run('demo', '--directory', join(home, 'c'), '--data', data);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /train_FD001\.txt, line \d+: it ends without a line end, so the file has been cut off/,
  );
  await appendFile(join(data, 'train_FD001.txt'), '\n');
  const again = await run('demo', '--directory', join(home, 'c'), '--data', data);
  assert.equal(again.code, 1);
  assert.match(
    again.stderr,
    /train_FD001\.txt, line \d+: \d+ columns instead of 26; has the file been cut off\?/,
  );
});
