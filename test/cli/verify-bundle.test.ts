import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { createSigner } from '#ed25519';
import { randomBytes } from '#random';
import { toBase64 } from '../../runtime/core/encoding/base64.ts';
import { createSign1Signer } from '../../runtime/core/encoding/cose.ts';
import { encodeEntry } from '../../runtime/core/encoding/entry.ts';
import { encodeSample } from '../../runtime/core/encoding/sample.ts';
import { encodeSalted } from '../../runtime/core/log/block.ts';
import { decodeExport, encodeExport } from '../../runtime/core/log/export.ts';
import { endorse } from '../../runtime/state/provenance/endorsement.ts';
import {
  answered,
  assertRefused,
  at,
  createPlant,
  kosmosHere,
  made,
  type Plant,
  revokedBy,
  SEEN,
  succeeded,
  T0,
} from './plant.ts';

test('what a bundle proves is told, with by whose word', async (t) => {
  const { plant, file } = await made(t);
  const report = await succeeded('verify', file);
  assert.deepEqual(
    [
      report.kind,
      report.samples,
      report.maintenance,
      report.opened,
      report.other,
      report.machines,
      report.from,
      report.to,
    ],
    ['bundle', 30, 1, 1, 2, ['press-1'], at(0), at(20)],
  );
  assert.equal(report.origin, 'plant/acme/acme-1');
  assert.deepEqual(report.streams, [
    { machine: 'press-1', stream: 'monitor', samples: 10, first: '0/0', last: '0/9', missing: 0 },
    { machine: 'press-1', stream: 'burst', samples: 20, first: '0/0', last: '0/19', missing: 0 },
  ]);
  const cosigned = report.cosigned as { member: string; time: string }[];
  assert.deepEqual(
    cosigned.map(({ member, time }) => [member, time]),
    ['acme', 'bolt', 'cog'].map((member) => [member, at(3600)]),
  );
  const said = await kosmosHere('verify', file);
  assert.match(
    said.stdout,
    /by the agreement in the bundle itself \(consortium plant, epoch 1, sha256 [0-9a-f]{64}, signed by acme, bolt, cog\): compare that hash/,
  );
  const given = await kosmosHere('verify', file, '--agreement', plant.agreementFile);
  assert.match(given.stdout, /by the agreement that was given/);
  const policy = plant.path('policy');
  await writeFile(policy, decodeExport(await readFile(file)).policy);
  const byPolicy = await kosmosHere('verify', file, '--policy', policy);
  assert.match(
    byPolicy.stdout,
    /by the policy that was given\nsample keys by the agreement in the bundle itself/,
  );
});

test('--print gives values, times and opened maintenance entries, and the report goes to stderr', async (t) => {
  const { file } = await made(t);
  const { stdout, stderr, code } = await kosmosHere('verify', file, '--print');
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^holds: 30 samples/);
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const sample = lines.find(({ sequence, stream }) => stream === 'monitor' && sequence === 3);
  assert.deepEqual([sample?.values, sample?.time, sample?.signed_by], [[3.5], at(3), 'entry']);
  const burst = lines.find(({ sequence, stream }) => stream === 'burst' && sequence === 19);
  assert.deepEqual([burst?.values, burst?.position, burst?.signed_by], [[19, -19], 19, 'block']);
  const failure = lines.find(({ kind }) => kind === 'maintenance');
  assert.deepEqual(
    [failure?.machine, failure?.type, failure?.note],
    ['press-1', 'failure', 'bearing seized'],
  );
});

test('a bundle of another consortium, and one of impostors with the same names', async (t) => {
  const { file } = await made(t);
  const other = await createPlant(t, 'other');
  await assertRefused(
    file,
    /bundle: it is of the consortium plant, not of other/,
    '--agreement',
    other.agreementFile,
  );
  const impostor = await createPlant(t, 'plant');
  await assertRefused(file, /checkpoint: no accepted log signed/, '--agreement', impostor.agreementFile);
  const policy = impostor.path('policy');
  await writeFile(policy, 'quorum none\n');
  const useless = await kosmosHere('verify', file, '--policy', policy);
  assert.notEqual(useless.code, 0);
  assert.match(useless.stderr, /the policy names no log/);
  const unsigned = impostor.path('unsigned.toml');
  await writeFile(unsigned, await readFile(impostor.agreementFile));
  await assertRefused(file, /the agreement is not signed/, '--agreement', unsigned);
});

test('a revoked key counts for what a quorum had seen by then, and for nothing after', async (t) => {
  const { plant, file } = await made(t);
  const statements = plant.path('statements');
  const cases: readonly (readonly ['sample' | 'log' | 'witness', number, RegExp])[] = [
    [
      'sample',
      0,
      /no sample key [0-9a-f]{16} counts in the log "plant\/acme\/acme-1": the key [0-9a-f]{16} for sample was revoked by its identity key/,
    ],
    ['log', 0, /checkpoint: the key [0-9a-f]{16} for log was revoked/],
    ['witness', 1, /checkpoint: the quorum is not reached without cosignatures/],
  ];
  for (const [purpose, number, named] of cases) {
    const judged = async (time: number) => {
      await writeFile(statements, `${toBase64(revokedBy(plant, purpose, time, number))}\n`);
      return kosmosHere('verify', file, '--statements', statements);
    };
    const later = await judged(SEEN * 1000);
    assert.equal(later.code, 0, `${purpose}: ${later.stderr}`);
    const earlier = await judged(SEEN * 1000 - 1);
    assert.equal(earlier.code, 1, purpose);
    assert.match(earlier.stderr, named);
  }
  await writeFile(statements, 'no statement\n');
  const garbage = await kosmosHere('verify', file, '--statements', statements);
  assert.equal(garbage.code, 2);
});

test('statements that lie in the directory travel with the bundle: a rotated key counts, a revoked one does not', async (t) => {
  const next = createSigner(randomBytes(32));
  const { file, plant } = await made(t, 'plant', async (plant) => {
    const [{ member, name, keys }] = plant.parties as [Plant['parties'][number]];
    await mkdir(join(plant.directory, 'keys'));
    const statement = endorse({ ...keys, sample: next }, member, name, T0, 1);
    await writeFile(join(plant.directory, 'keys', 'statements'), `${toBase64(statement)}\n`);
    const sample = {
      machine: 'press-1',
      stream: 'new',
      incarnation: 0,
      sequence: 0,
      time: T0,
      clock: 'synchronised',
    } as const;
    await plant.journal.append([createSign1Signer(next).sign(encodeSample({ ...sample, values: [1] }))]);
  });
  const report = await succeeded('verify', file);
  assert.deepEqual([report.samples, report.statements], [31, 1]);
  const bundle = decodeExport(new Uint8Array(await readFile(file)));
  const bare = plant.path('bare');
  await writeFile(bare, encodeExport({ ...bundle, statements: [] }));
  await assertRefused(
    bare,
    /no sample key [0-9a-f]{16} counts in the log "plant\/acme\/acme-1": it is no sample key of acme-1/,
  );
  await writeFile(
    join(plant.directory, 'keys', 'statements'),
    `${toBase64(revokedBy(plant, 'sample', T0))}\n`,
  );
  await succeeded(
    'export',
    '--directory',
    plant.directory,
    '--output',
    file,
    '--machine',
    'press-1',
    '--stream',
    'monitor',
  );
  await assertRefused(file, /was revoked by its identity key/);
});

const sampleOf = (sequence: number) =>
  encodeSample({
    machine: 'press-1',
    stream: 'x',
    incarnation: 0,
    sequence,
    time: T0,
    clock: 'stepped',
    values: [Number.NaN],
  });

test('what a log holds but its gateway may not say is refused', async (t) => {
  const cases: readonly (readonly [string, (plant: Plant) => Promise<void>, RegExp])[] = [
    [
      'signed with another key',
      (plant) => plant.journal.append([createSign1Signer(createSigner(randomBytes(32))).sign(sampleOf(0))]),
      /it is no sample key of acme-1/,
    ],
    [
      'signed with the key of another gateway',
      (plant) => plant.journal.append([createSign1Signer(plant.parties[1]!.keys.sample).sign(sampleOf(0))]),
      /it is no sample key of acme-1/,
    ],
    [
      'a number that is given twice',
      async (plant) => {
        const signer = createSign1Signer(plant.parties[0]!.keys.sample);
        await plant.journal.append([signer.sign(sampleOf(5)), signer.sign(sampleOf(5))]);
      },
      /press-1\/x: number 0\/5 comes behind 0\/5/,
    ],
    [
      'a salted entry without a signature of its block',
      (plant) => plant.journal.append([encodeSalted(randomBytes(16), sampleOf(0))]),
      /block \d+: block: not signed/,
    ],
    [
      'no sample, signed with its block',
      async (plant) => {
        const entry = encodeEntry({
          kind: 'stream',
          incarnation: 0,
          sequence: 99,
          time: T0,
          clock: 'stepped',
          body: ['press-1', 'x', 1, []],
        });
        const signer = createSign1Signer(plant.parties[0]!.keys.sample);
        await plant.journal.append([encodeSalted(randomBytes(16), entry), signer.sign(sampleOf(0))], {
          blockSigned: true,
        });
      },
      /only a sample may be signed with its block/,
    ],
  ];
  for (const [what, more, named] of cases) {
    await t.test(what, async (t) => {
      const { file } = await made(t, 'plant', more);
      await assertRefused(file, named);
    });
  }
});

let garbage: readonly (readonly [string, Uint8Array])[];
before(() => {
  const text = (content: string) => new TextEncoder().encode(content);
  const magic = Uint8Array.of(0x89, 0x70, ...text('kosmos/bundle/v1'));
  garbage = [
    ['empty', new Uint8Array(0)],
    ['zeros', new Uint8Array(5000)],
    ['chance', randomBytes(5000)],
    ['text', text('hello\n')],
    ['json', text('{"ok": true}')],
    ['a bundle that ends', magic],
    ['a bundle of zeros', Uint8Array.of(...magic, ...new Uint8Array(100))],
    [
      'a bundle that announces too much',
      Uint8Array.of(...magic, 0x9b, 255, 255, 255, 255, 255, 255, 255, 255),
    ],
    ['evidence', text('kosmos/equivocation/v1\n')],
    ['evidence of chance', Uint8Array.of(...text('kosmos/equivocation/v1\n'), ...randomBytes(500))],
    ['tlog-proof', text('c2sp.org/tlog-proof@v1\n')],
    ['tlog-proof of chance', Uint8Array.of(...text('c2sp.org/tlog-proof@v1\n'), ...randomBytes(500))],
  ];
});

test('garbage is refused in words', async (t) => {
  const plant = await createPlant(t);
  const path = plant.path('garbage');
  for (const [what, content] of garbage) {
    await writeFile(path, content);
    const { code, stdout, stderr } = await kosmosHere('verify', path, '--agreement', plant.agreementFile);
    assert.equal(code, 1, `${what}: ${stdout}`);
    assert.match(stderr, /^kosmos verify: /);
    assert.doesNotMatch(stderr, /TypeError|undefined|KOSMOS_DEBUG/, what);
  }
  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [['--agreement', plant.agreementFile, '--policy', path], /do not go together/],
    [['--since', path], /--since does not go with a bundle/],
    [['--policy', path], /policy/],
  ];
  const { file } = await made(t);
  for (const [args, named] of wrong) {
    const { code, stderr } = await answered('verify', file, ...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, named);
  }
});
