import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineCommand } from '../../../runtime/cli/terminal/command.ts';
import type { Io } from '../../../runtime/cli/terminal/io.ts';
import { problem } from '../../../runtime/cli/terminal/problem.ts';
import { type Program, runProgram } from '../../../runtime/cli/terminal/program.ts';

const demo = defineCommand({
  name: 'demo',
  summary: 'several companies on this machine',
  options: {
    gateways: { kind: 'number', value: 'N', about: 'how many', whole: true, least: 3, most: 100, default: 3 },
    epsilon: { kind: 'text', value: 'E', about: 'the budget', default: '8' },
    unit: {
      kind: 'text',
      value: 'UNIT',
      about: 'of privacy',
      choices: ['window', 'episode'],
      default: 'episode',
    },
    data: { kind: 'text', value: 'DIR', about: 'recorded data', short: 'd' },
    label: { kind: 'text', value: 'L', about: 'labels', many: true },
    interval: { kind: 'duration', value: 'TIME', about: 'time between rounds', default: 1000 },
    quick: { kind: 'flag', about: 'no rest between rounds', short: 'q' },
    low: { kind: 'number', value: 'X', about: 'lowest value' },
  },
  examples: ['demo --gateways 5'],
  async run({ options, json }, io) {
    // These lines are also a test of the types.
    const gateways: number = options.gateways;
    const unit: 'window' | 'episode' = options.unit;
    const data: string | undefined = options.data;
    const labels: readonly string[] = options.label;
    const quick: boolean = options.quick;
    const low: number | undefined = options.low;
    io.stdout.write(
      JSON.stringify([gateways, options.epsilon, unit, data, labels, options.interval, quick, low, json]),
    );
    return 0;
  },
});

const verify = defineCommand({
  name: 'verify',
  summary: 'check a directory',
  arguments: [{ name: 'DIR', about: 'the directory of a gateway' }],
  options: { key: { kind: 'text', value: 'FILE', about: 'the key', required: true } },
  async run({ positionals }) {
    if (positionals[0] === 'full') throw Object.assign(new Error('x'), { code: 'ENOSPC', path: '/var/x' });
    if (positionals[0] === 'bug') throw new TypeError('a is undefined');
    throw problem('the signature of block 7 does not verify', {
      where: `${positionals[0]}/journal`,
      todo: 'keep the directory as it is and call the operator',
      exitCode: 1,
    });
  },
});

const program: Program = {
  name: 'kosmos',
  summary: 'a gateway',
  version: '1.2.3',
  commands: [
    { name: 'demo', summary: 'several companies on this machine', load: async () => demo },
    { name: 'verify', summary: 'check a directory', load: async () => verify },
    { name: 'config doc', summary: 'every key', load: async () => demo },
    { name: 'config check', summary: 'judge a file', load: async () => demo },
  ],
};

async function run(
  line: string,
  env: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const io: Io = {
    stdout: {
      write(text) {
        out += text;
      },
    },
    stderr: {
      write(text) {
        err += text;
      },
    },
    env,
  };
  const code = await runProgram(program, line === '' ? [] : line.split(' '), io);
  return { code, out, err };
}

test('options are typed values, with defaults', async () => {
  assert.deepEqual(await run('demo'), {
    code: 0,
    err: '',
    out: '[3,"8","episode",null,[],1000,false,null,false]',
  });
  const all = await run(
    'demo --gateways=5 --epsilon off --unit window -d /x --label a --label=b --interval 5m -q --low -1.5e3 --json',
  );
  assert.equal(all.out, '[5,"off","window","/x",["a","b"],300000,true,-1500,true]');
});

test('every fault of a command line at once, exit 2', async () => {
  const { code, err, out } = await run(
    'demo --gatways 5 --gateways 2 --unit windw --interval 5 --low x --data --quick=yes --epsilon 1 --epsilon 2 more',
  );
  assert.equal(code, 2);
  assert.equal(out, '');
  assert.deepEqual(err.split('\n'), [
    'kosmos demo: there is no option --gatways; did you mean --gateways?',
    'kosmos demo: --gateways is a whole number from 3 to 100, not 2',
    'kosmos demo: --epsilon is given 2 times; once is enough',
    'kosmos demo: --unit is one of window, episode, not windw; did you mean window?',
    'kosmos demo: --data needs a value (DIR); for one that begins with -, write --data=--quick=yes',
    'kosmos demo: --interval is a length of time such as 250ms, 1s or 5m, not 5',
    'kosmos demo: --low is a number, not x',
    'kosmos demo: 5 more is too much: demo takes no arguments',
    '  kosmos demo --help shows what it takes',
    '',
  ]);
  const flag = await run('demo --quick=yes --json');
  assert.equal(flag.err.split('\n')[0], 'kosmos demo: --quick takes no value');
  assert.deepEqual(JSON.parse(flag.out), { error: { what: '--quick takes no value' } });
});

test('what is needed and absent is named', async () => {
  const { code, err } = await run('verify');
  assert.equal(code, 2);
  assert.match(err, /--key FILE is needed: the key\n.*DIR is needed: the directory of a gateway/);
});

test('an unknown command, exit 2, with the nearest one', async () => {
  assert.match(
    (await run('verfy x')).err,
    /^kosmos: there is no command verfy; did you mean verify\?\n {2}kosmos --help/,
  );
  assert.match((await run('config dco')).err, /did you mean config doc\?/);
  assert.match(
    (await run('config')).err,
    /there is no command config\n {2}there are config doc, config check/,
  );
  for (const line of ['verfy', 'config', 'zzz', '--zzz', '']) assert.equal((await run(line)).code, 2, line);
});

test('help and version', async () => {
  const help = await run('--help');
  assert.equal(help.code, 0);
  assert.match(
    help.out,
    /^Usage: kosmos COMMAND \[options\]\n\nA gateway\.\n\nCommands:\n {2}demo {10}several companies/,
  );
  for (const line of ['help demo', 'demo --help', 'demo -h --nonsense']) {
    const { code, out } = await run(line);
    assert.equal(code, 0);
    assert.match(out, /^Usage: kosmos demo \[options\]\n\nSeveral companies on this machine\.\n/);
    assert.match(out, /--unit UNIT +of privacy \(one of window, episode; default episode\)/);
    assert.match(out, /--interval TIME +time between rounds \(default 1s\)/);
    assert.match(out, /-d, --data DIR/);
    assert.match(out, /--json +print the result/);
    assert.match(out, /Examples:\n {2}kosmos demo --gateways 5/);
  }
  assert.match((await run('verify --help')).out, /^Usage: kosmos verify DIR \[options\]/);
  assert.equal((await run('--version')).out, '1.2.3\n');
});

test('an error says what, where and what to do, without a stack', async () => {
  const { code, err } = await run('verify --key k data');
  assert.equal(code, 1);
  assert.equal(
    err,
    'kosmos verify: data/journal: the signature of block 7 does not verify\n' +
      '  keep the directory as it is and call the operator\n',
  );
  assert.match((await run('verify --key k full')).err, /\/var\/x: the disk is full\n {2}make room/);
  const bug = await run('verify --key k bug');
  assert.match(bug.err, /a is undefined\n {2}KOSMOS_DEBUG=1 shows/);
  assert.doesNotMatch(bug.err, /\n\s+at /);
});

test('with KOSMOS_DEBUG the stack is shown, with --json the error is an object', async () => {
  assert.match(
    (await run('verify --key k bug', { KOSMOS_DEBUG: '1' })).err,
    /TypeError: a is undefined\n\s+at /,
  );
  const { out } = await run('verify --key k data --json');
  assert.deepEqual(JSON.parse(out), {
    error: {
      what: 'the signature of block 7 does not verify',
      where: 'data/journal',
      todo: 'keep the directory as it is and call the operator',
    },
  });
});
