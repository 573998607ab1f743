import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readAgreement } from '../../runtime/state/agreement/agreement.ts';
import { builtKosmos, type Ended, kosmos } from '../lab/program.ts';

const COMPANIES = ['acme', 'bolt', 'cogs'];

let program: string;
let home: string;

before(async () => {
  program = await builtKosmos();
  home = await mkdtemp(join(tmpdir(), 'kosmos-draft-'));
  for (const company of COMPANIES) {
    const made = await kosmos(
      program,
      [
        ...['init', '--directory', company, '--member', company, '--name', `${company}-1`],
        ...['--member-key', `${company}.pem`, '--address', `${company}.example:7400`],
      ],
      { cwd: home },
    );
    assert.equal(made.code, 0, made.stderr);
  }
});

after(() => rm(home, { recursive: true, force: true }));

function draft(out: string, ...more: string[]): Promise<Ended> {
  const cards = COMPANIES.map((company) => join(company, 'card.json'));
  const args = ['--out', out, '--consortium', 'trio', '--sheet', 'simulated-machine', ...more];
  return kosmos(program, ['agreement', 'draft', ...cards, ...args], { cwd: home });
}

async function paddingIn(out: string): Promise<number> {
  const read = readAgreement(await readFile(join(home, out), 'utf8'), out);
  assert.ok(read.ok);
  return read.value.terms.log.padding;
}

test('padding stands in the agreement as it was asked for, and is none when it was not', async () => {
  const padded = await draft('padded.toml', '--padding', '8');
  assert.equal(padded.code, 0, padded.stderr);
  assert.equal(await paddingIn('padded.toml'), 8);
  const plain = await draft('plain.toml');
  assert.equal(plain.code, 0, plain.stderr);
  assert.equal(await paddingIn('plain.toml'), 0);
});

for (const [value, why] of [
  ['1.5', /--padding.*whole/],
  ['-1', /--padding/],
  ['many', /--padding/],
  ['5000', /padding.*4096/s],
] as const) {
  test(`padding of ${value} is refused, and no document is written`, async () => {
    const refused = await draft(`refused-${value}.toml`, `--padding=${value}`);
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(refused.stderr, why);
    await assert.rejects(readFile(join(home, `refused-${value}.toml`)), { code: 'ENOENT' });
  });
}
