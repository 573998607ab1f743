import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { keysHandlers } from '../../runtime/cli/keys/handlers.ts';
import { loadUnsigned, socketIn } from '../../runtime/cli/settings-file.ts';
import { toHex } from '../../runtime/core/encoding/base64.ts';
import { createControl } from '../../runtime/services/control/server.ts';
import { loadGatewayKeys } from '../../runtime/state/provenance/keys.ts';
import { PURPOSES } from '../../runtime/state/provenance/purposes.ts';
import { rosterOf } from '../../runtime/state/provenance/roster.ts';
import { readStatements, statementsPath } from '../../runtime/state/provenance/statements-file.ts';
import { builtKosmos, kosmos, lastJson } from '../lab/program.ts';

interface Row {
  readonly gateway: string;
  readonly purpose: string;
  readonly id: string;
  readonly state: string;
  readonly serial: number;
  readonly revoked?: { readonly by: string; readonly reason: string; readonly as_of: string };
}

const COMPANIES = ['acme', 'bolt', 'cog'] as const;
let program: string;
let home: string;

const directoryOf = (company: string) => join(home, `${company}-gateway`);
const memberKeyOf = (company: string) => join(home, `${company}.pem`);

async function run(...args: string[]) {
  const { code, stdout, stderr } = await kosmos(program, [...args, '--json'], { cwd: home });
  return { code, stderr, json: stdout.trim() === '' ? {} : lastJson(stdout) };
}

async function ok(...args: string[]) {
  const { code, stderr, json } = await run(...args);
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
  return json;
}

async function rowsOf(directory: string, ...more: string[]): Promise<readonly Row[]> {
  return (await ok('keys', 'list', '--directory', directory, ...more)).keys as readonly Row[];
}

const shown = (rows: readonly Row[], purpose: string) =>
  rows.filter((row) => row.purpose === purpose).map(({ serial, state }) => `${serial} ${state}`);

/** A consortium on disk, made and signed with the program itself. */
before(async () => {
  program = await builtKosmos();
  home = await mkdtemp(join(tmpdir(), 'kosmos-keys-'));
  for (const company of COMPANIES) {
    await ok(
      ...['init', '--directory', directoryOf(company), '--member', company, '--name', `${company}-1`],
      ...['--address', '127.0.0.1:7400', '--member-key', memberKeyOf(company)],
    );
  }
  const agreement = join(home, 'agreement.toml');
  await ok(
    ...['agreement', 'draft', ...COMPANIES.map((company) => join(directoryOf(company), 'card.json'))],
    ...['--out', agreement, '--consortium', 'test', '--sheet', 'simulated-machine', '--rounds', '3'],
  );
  for (const company of COMPANIES)
    await ok('agreement', 'sign', agreement, '--member-key', memberKeyOf(company));
  for (const company of COMPANIES) {
    for (const file of ['agreement.toml', 'agreement.toml.sigs'])
      await cp(join(home, file), join(directoryOf(company), file));
  }
});

after(() => rm(home, { recursive: true, force: true }));

/** A company's directory of its own for one test. */
async function copyOf(company: string): Promise<string> {
  const copy = await mkdtemp(join(home, 'copy-'));
  await cp(directoryOf(company), copy, { recursive: true });
  return copy;
}

test('rotate: new keys with the next serial, a card that follows, and secrets that appear nowhere', async () => {
  const directory = await copyOf('acme');
  const before = await loadGatewayKeys(directory);
  const first = await ok('keys', 'rotate', '--directory', directory);
  assert.deepEqual([first.serial, first.purposes], [1, ['sample']]);
  const pem = await readFile(join(directory, 'keys', 'sample.pem'), 'utf8');
  const second = await kosmos(program, [
    ...['keys', 'rotate', '--directory', directory, '--purpose', 'tls', '--purpose', 'log'],
  ]);
  assert.equal(second.code, 0, second.stderr);
  assert.match(second.stdout, /acme-1 of acme has new keys for log, tls: endorsement 2/);
  const secret = pem.split('\n')[1]!;
  assert.ok(!`${second.stdout}${second.stderr}${JSON.stringify(first)}`.includes(secret));
  const now = await loadGatewayKeys(directory);
  const changed = PURPOSES.filter(
    (purpose) => toHex(now[purpose].publicKey) !== toHex(before[purpose].publicKey),
  );
  assert.deepEqual(changed, ['sample', 'log', 'tls']);
  const rows = await rowsOf(directory, '--name', 'acme-1');
  assert.deepEqual(shown(rows, 'sample'), ['1 current', '0 previous']);
  assert.deepEqual(shown(rows, 'log'), ['2 current', '0 previous']);
  assert.deepEqual(shown(rows, 'witness'), ['0 current']);
  assert.equal((await readStatements(statementsPath(directory))).length, 2);
  // A later agreement begins with the newest keys.
  const cards = [directory, directoryOf('bolt'), directoryOf('cog')].map((one) => join(one, 'card.json'));
  const epoch = join(directory, 'next-epoch.toml');
  await ok(
    ...['agreement', 'draft', ...cards, '--out', epoch, '--consortium', 'test'],
    ...['--sheet', 'simulated-machine', '--rounds', '3'],
  );
  assert.equal((await loadUnsigned(epoch)).gateways[0]!.endorsement.serial, 2);
  const third = await ok('keys', 'rotate', '--directory', directory, '--agreement', epoch, '--serial', '9');
  assert.equal(third.serial, 9);
  const low = await run('keys', 'rotate', '--directory', directory, '--serial', '9');
  assert.equal(low.code, 2);
  assert.match(low.stderr, /endorsement 9 is there already/);
});

test('revoke, then accept at another member: the statement alone carries it', async () => {
  const directory = await copyOf('acme');
  const other = await copyOf('bolt');
  await ok('keys', 'rotate', '--directory', directory);
  const old = (await rowsOf(directory)).find((row) => row.purpose === 'sample' && row.state === 'previous')!;
  const file = join(directory, 'statement');
  const revoked = await ok(
    ...['keys', 'revoke', '--directory', directory, '--purpose', 'sample', '--key', old.id],
    ...['--as-of', '2026-03-01T06:00Z', '--reason', 'disk was stolen', '--out', file],
  );
  assert.equal(revoked.as_of, '2026-03-01T06:00:00.000Z');
  const said = { by: 'identity', reason: 'disk was stolen', as_of: '2026-03-01T06:00:00.000Z' };
  const own = (await rowsOf(directory)).find(({ id }) => id === old.id)!;
  assert.deepEqual([own.state, own.revoked], ['revoked', said]);
  // All that acme has said, taken in by bolt; then again.
  const path = statementsPath(directory);
  assert.deepEqual(await ok('keys', 'accept', path, '--directory', other), { new: 2, known: 0, told: false });
  assert.deepEqual(await ok('keys', 'accept', path, '--directory', other), { new: 0, known: 2, told: false });
  assert.deepEqual(await ok('keys', 'accept', file, '--directory', other), { new: 0, known: 1, told: false });
  const theirs = await rowsOf(other, '--name', 'bolt-1');
  assert.deepEqual(shown(theirs, 'sample'), ['0 current']);
  const seen = (await rowsOf(other)).filter((row) => row.gateway === 'acme-1');
  assert.deepEqual(shown(seen, 'sample'), ['1 current', '0 revoked']);
});

test('a lost gateway: the company revokes its identity from elsewhere', async () => {
  const elsewhere = await copyOf('bolt');
  const out = join(elsewhere, 'lost');
  const args = [
    'keys',
    'revoke',
    '--directory',
    elsewhere,
    '--member',
    'acme',
    '--name',
    'acme-1',
    '--out',
    out,
  ];
  const wrong = await run(...args, '--member-key', memberKeyOf('bolt'));
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /signed neither by/);
  const done = await ok(...args, '--member-key', memberKeyOf('acme'));
  assert.deepEqual(
    (done.revoked as { purpose: string }[]).map(({ purpose }) => purpose),
    ['identity'],
  );
  const third = await copyOf('cog');
  await ok('keys', 'accept', out, '--directory', third);
  const rows = (await rowsOf(third)).filter((row) => row.gateway === 'acme-1');
  assert.deepEqual(
    new Set(rows.map(({ state, revoked }) => `${state} ${revoked?.by}`)),
    new Set(['revoked member']),
  );
});

test('what is no statement, or not for this consortium, is refused and named', async () => {
  const directory = await copyOf('cog');
  const file = join(directory, 'file');
  const refused = async (text: string, code: number, why: RegExp) => {
    await writeFile(file, text);
    const result = await run('keys', 'accept', file, '--directory', directory);
    assert.equal(result.code, code, result.stderr);
    assert.match(result.stderr, why);
  };
  await refused('', 2, /holds no statement/);
  await refused('AAAA\n!\n', 2, /line 2: not base64/);
  await refused('AAAA\n', 1, /statement 1/);
  const stranger = await copyOf('acme');
  await ok('keys', 'rotate', '--directory', stranger);
  const [statement] = await readStatements(statementsPath(stranger));
  statement![statement!.length - 1]! ^= 1;
  await refused(`${Buffer.from(statement!).toString('base64')}\n`, 1, /not signed by the identity key/);
  assert.deepEqual(await readStatements(statementsPath(directory)), []);
  for (const [args, why] of [
    [['revoke', '--directory', directory], /which key\?/],
    [['revoke', '--directory', directory, '--purpose', 'log', '--as-of', 'soon'], /is no time/],
    [['revoke', '--directory', directory, '--purpose', 'log', '--key', 'ff'], /no log key ff/],
    [['rotate', '--directory', directory, '--purpose', 'identity'], /--purpose is one of/],
    [['rotate', '--directory', join(directory, 'none')], /which gateway is this/],
    [['list'], /--directory/],
  ] as const) {
    const { code, stderr } = await run('keys', ...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, why);
  }
});

test('a daemon that runs is asked and told; its keys are not rotated under it', async () => {
  const directory = await copyOf('bolt');
  const agreement = await loadUnsigned(join(directory, 'agreement.toml'));
  const roster = rosterOf(agreement);
  const control = createControl(socketIn(directory), keysHandlers(agreement, roster));
  await control.start();
  try {
    const sender = await copyOf('acme');
    await ok('keys', 'rotate', '--directory', sender);
    const answer = await ok('keys', 'accept', statementsPath(sender), '--directory', directory);
    assert.deepEqual(answer, { new: 1, known: 0, told: true });
    assert.equal(roster.current('acme-1').serial, 1);
    const rows = await rowsOf(directory, '--name', 'acme-1');
    assert.deepEqual(shown(rows, 'sample'), ['1 current', '0 previous']);
    const revoked = await ok('keys', 'revoke', '--directory', directory, '--purpose', 'witness');
    assert.equal(revoked.told, true);
    assert.equal(roster.revocations('bolt-1').length, 1);
    const refused = await run('keys', 'rotate', '--directory', directory);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /its daemon is running\n {2}stop it first/);
  } finally {
    await control.stop();
  }
});
