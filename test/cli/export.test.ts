import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type ExportLimits, exportHandlers } from '../../runtime/cli/export/handlers.ts';
import { socketIn } from '../../runtime/cli/settings-file.ts';
import { decodeExport } from '../../runtime/core/log/export.ts';
import { parsePolicy } from '../../runtime/core/log/policy.ts';
import { verifyTlogProof } from '../../runtime/core/log/tlog-proof.ts';
import { askDaemon } from '../../runtime/services/control/client.ts';
import { createControl } from '../../runtime/services/control/server.ts';
import { keys } from '../../runtime/state/journal/keys.ts';
import { openStore } from '../../runtime/state/journal/store.ts';
import { rosterOf } from '../../runtime/state/provenance/roster.ts';
import { blocksOf, flipRaw, must } from '../lab/damage.ts';
import { answered, at, createPlant, fill, kosmosHere, type Plant, succeeded } from './plant.ts';

async function closedPlant(t: TestContext): Promise<Plant> {
  const plant = await createPlant(t);
  await fill(plant);
  await plant.checkpoint();
  await plant.close();
  return plant;
}

/** The daemon's half, over this process's journal. */
async function listen(t: TestContext, plant: Plant, limits: Partial<ExportLimits> = {}): Promise<string> {
  const gateway = {
    roster: rosterOf(plant.agreement),
    status: () => ({ gateway: 'acme-1' }),
    journal: plant.journal,
    agreementFile: plant.agreementFile,
  };
  const socket = socketIn(plant.directory);
  const control = createControl(socket, { ...exportHandlers(gateway, plant.agreement, limits) });
  await control.start();
  t.after(() => control.stop());
  return socket;
}

interface Printed {
  readonly kind: string;
  readonly machine?: string;
  readonly stream?: string;
  readonly sequence: number;
  readonly note?: string;
}

/** What a bundle proves, entry by entry. */
async function proven(file: string, ...more: string[]): Promise<readonly Printed[]> {
  const { code, stdout, stderr } = await kosmosHere('verify', file, '--print', ...more);
  assert.equal(code, 0, stderr);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Printed);
}

const short = ({ kind, machine, stream, sequence, note }: Printed) =>
  kind === 'sample'
    ? `${machine}/${stream}/${sequence}`
    : kind === 'stream'
      ? `+${machine}/${stream}`
      : `${kind} ${note}`;

const range = (name: string, from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => `${name}/${from + index}`);

test('each way to choose gives just those entries, with the declarations of their streams', async (t) => {
  const plant = await closedPlant(t);
  const file = plant.path('out.kosmos');
  const both = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, index) => [
      `press-1/monitor/${from + index}`,
      `press-2/monitor/${from + index}`,
    ]).flat();
  const cases: readonly (readonly [readonly string[], readonly string[]])[] = [
    [
      ['--machine', 'press-1'],
      [
        '+press-1/monitor',
        '+press-1/burst',
        ...range('press-1/monitor', 0, 10),
        ...range('press-1/burst', 0, 20),
        'maintenance bearing seized',
      ],
    ],
    [
      ['--machine', 'press-2', '--from', at(8), '--to', at(30)],
      ['+press-2/monitor', ...range('press-2/monitor', 8, 10)],
    ],
    [
      ['--from', at(3), '--to', at(5)],
      ['+press-1/monitor', '+press-2/monitor', ...both(3, 5)],
    ],
    [
      ['--stream', 'burst'],
      ['+press-1/burst', ...range('press-1/burst', 0, 20)],
    ],
    [['--from', at(35), '--maintenance', '--stream', 'none'], ['maintenance oil changed']],
    [['--maintenance'], ['maintenance bearing seized', 'maintenance oil changed']],
    [
      ['--sample', 'press-2/monitor/0/7'],
      ['+press-2/monitor', 'press-2/monitor/7'],
    ],
    [
      ['--sample', 'press-1/burst/0/13'],
      ['+press-1/burst', 'press-1/burst/13'],
    ],
  ];
  for (const [chosen, expected] of cases) {
    const summary = await succeeded('export', '--directory', plant.directory, '--output', file, ...chosen);
    const entries = await proven(file);
    assert.deepEqual(entries.map(short), expected, chosen.join(' '));
    assert.equal(summary.entries, expected.length);
    assert.equal(summary.final, true);
    assert.deepEqual(summary.warnings, []);
  }
});

test('the same choice makes the same file, and the file says nothing of the rest', async (t) => {
  const plant = await closedPlant(t);
  const [a, b] = [plant.path('a'), plant.path('b')];
  for (const file of [a, b]) {
    await succeeded(
      'export',
      '--directory',
      plant.directory,
      '--output',
      file,
      '--sample',
      'press-1/monitor/0/3',
    );
  }
  const bytes = await readFile(a);
  assert.deepEqual(bytes, await readFile(b));
  assert.ok(!bytes.includes('bearing seized') && !bytes.includes('press-2'));
});

test('what no final checkpoint covers: refused with the time of the next, or marked as not final', async (t) => {
  const plant = await createPlant(t);
  await fill(plant);
  const file = plant.path('out.kosmos');
  const socket = await listen(t, plant);
  assert.ok(socket);
  const wanted = ['export', '--directory', plant.directory, '--output', file];
  const none = await answered(...wanted, '--sample', 'press-1/monitor/0/0');
  assert.equal(none.code, 1);
  assert.match(
    none.stderr,
    /block 4 is in no published checkpoint yet\n {2}a gateway that runs publishes one every 5s/,
  );
  const nothing = await answered(...wanted, '--machine', 'press-1');
  assert.match(nothing.stderr, /nothing matches machine press-1: the log has no checkpoint yet/);

  await plant.checkpoint({ by: [0, 1] });
  const early = await answered(...wanted, '--sample', 'press-1/monitor/0/0');
  assert.equal(early.code, 0, early.stderr);
  assert.equal(early.json.final, false);
  assert.match(early.stderr, /WARNING: the checkpoint of size \d+ is not final/);
  const refused = await kosmosHere('verify', file);
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /the policy's quorum is not reached: cosigned by "plant\/acme\/acme-1\/witness", "plant\/bolt\/bolt-1\/witness"/,
  );

  const { size } = plant.journal.head()!;
  await plant.checkpoint();
  await plant.recorder.sample({ machine: 'press-1', stream: 'monitor', values: [99] }).durable;
  await plant.checkpoint({ by: [0] });
  // Without an end, it ends with what is final; an end that was asked for is kept.
  const open = await succeeded(...wanted, '--machine', 'press-1', '--stream', 'monitor');
  assert.deepEqual([open.size, open.samples, open.final], [size, 10, true]);
  const closed = await succeeded(...wanted, '--machine', 'press-1', '--stream', 'monitor', '--to', at(1000));
  assert.deepEqual([closed.size, closed.samples, closed.final], [size + 1, 11, false]);
});

test('a daemon that runs gives the bundle in parts, one export at a time', async (t) => {
  const plant = await createPlant(t);
  await fill(plant);
  await plant.checkpoint();
  const socket = await listen(t, plant, { answerMs: 0 });
  const [asked, direct] = [plant.path('asked'), plant.path('direct')];
  const chosen = ['--directory', plant.directory, '--machine', 'press-1'];
  await succeeded('export', ...chosen, '--output', asked, '--agreement', plant.agreementFile);

  const selection = { machine: 'press-1', maintenance: false, alone: false };
  const [first, second] = await Promise.allSettled([
    askDaemon(socket, 'export', { selection }),
    askDaemon(socket, 'export', { selection }),
  ]);
  const outcomes = [first, second]
    .map((one) => (one.status === 'rejected' ? String(one.reason) : 'taken'))
    .sort();
  assert.match(outcomes[0]!, /another export is under way/);
  assert.equal(outcomes[1], 'taken');
  const wrong = [{ selection: { ...selection, more: 1 } }, { id: 'nobody' }, {}];
  for (const given of wrong) await assert.rejects(askDaemon(socket, 'export', given), Error);
  await assert.rejects(askDaemon(socket, 'export-part', { id: 'nobody', offset: 0 }), /this export is gone/);

  const other = await createPlant(t, 'other');
  const foreign = await kosmosHere(
    'export',
    ...chosen,
    '--output',
    direct,
    '--agreement',
    other.agreementFile,
  );
  assert.match(foreign.stderr, /the daemon runs under another agreement/);
  assert.equal((await proven(asked)).length, 33);
});

test('a bundle from the directory is that from the daemon', async (t) => {
  const plant = await createPlant(t);
  await fill(plant);
  await plant.checkpoint();
  const gateway = {
    roster: rosterOf(plant.agreement),
    status: () => ({ gateway: 'acme-1' }),
    journal: plant.journal,
    agreementFile: plant.agreementFile,
  };
  const control = createControl(socketIn(plant.directory), { ...exportHandlers(gateway, plant.agreement) });
  await control.start();
  const chosen = ['--directory', plant.directory, '--machine', 'press-1'];
  await succeeded('export', ...chosen, '--output', plant.path('asked'));
  await control.stop();
  await plant.close();
  await succeeded('export', ...chosen, '--output', plant.path('direct'));
  assert.deepEqual(await readFile(plant.path('asked')), await readFile(plant.path('direct')));
});

test('what is built is forgotten when nobody asks, and what is too large is refused with advice', async (t) => {
  const plant = await createPlant(t);
  await fill(plant);
  await plant.checkpoint();
  const socket = await listen(t, plant, { keepMs: 1, maxBytes: 3000 });
  const selection = {
    sample: { machine: 'press-1', stream: 'monitor', incarnation: 0, sequence: 0 },
    maintenance: false,
    alone: false,
  };
  const { id } = (await askDaemon(socket, 'export', { selection })) as { id: string };
  await new Promise((resolve) => setTimeout(resolve, 50));
  await assert.rejects(askDaemon(socket, 'export-part', { id, offset: 0 }), /this export is gone/);
  const large = await answered(
    'export',
    '--directory',
    plant.directory,
    '--machine',
    'press-1',
    '--output',
    plant.path('x'),
  );
  assert.equal(large.code, 1);
  assert.match(
    large.stderr,
    /more than one bundle holds: \d+ entries up to block \d+\n {2}narrow it with --from and --to/,
  );
});

test('tlog-proof: one sample for any reader of the format, and the way from the sample to its leaf', async (t) => {
  const plant = await closedPlant(t);
  const file = plant.path('sample.tlog-proof');
  for (const sample of ['press-1/burst/0/13', 'press-2/monitor/0/4']) {
    await succeeded(
      ...[
        'export',
        '--directory',
        plant.directory,
        '--output',
        file,
        '--format',
        'tlog-proof',
        '--sample',
        sample,
      ],
    );
    const bundle = plant.path('same.kosmos');
    await succeeded('export', '--directory', plant.directory, '--output', bundle, '--sample', sample);
    const policy = parsePolicy(decodeExport(await readFile(bundle)).policy);
    const verdict = verifyTlogProof(await readFile(file), await readFile(`${file}.leaf`), policy);
    assert.equal(verdict.kind, 'proven');
    const report = await succeeded('verify', file, '--agreement', plant.agreementFile);
    const entry = report.entry as Printed;
    assert.equal(`${entry.machine}/${entry.stream}/0/${entry.sequence}`, sample);
    assert.equal(report.signature, true);
  }
});

test('a choice that makes no sense is wrong use; one that matches nothing says what there is', async (t) => {
  const plant = await closedPlant(t);
  const base = ['export', '--directory', plant.directory, '--output', plant.path('x')];
  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /what is to be exported\?/],
    [['--from', 'yesterday'], /--from yesterday is no time/],
    [['--from', at(5), '--to', at(5)], /--to must be later than --from/],
    [['--sample', 'press-1/monitor/0'], /is no sample: write MACHINE\/STREAM\/INCARNATION\/SEQUENCE/],
    [['--sample', 'press-1/monitor/0/x'], /is no sample/],
    [['--sample', 'a/b/0/1', '--machine', 'a'], /do not go with it/],
    [['--machine', 'a', '--format', 'tlog-proof'], /tlog-proof is for one --sample alone/],
  ];
  for (const [args, said] of wrong) {
    const { code, stderr } = await kosmosHere(...base, ...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, said);
  }
  const absent = await kosmosHere(...base, '--machine', 'press-3');
  assert.equal(absent.code, 1);
  assert.match(absent.stderr, /nothing matches machine press-3\n {2}did you mean press-[12]\?/);
  const directory = await kosmosHere('export', '--output', 'x', '--maintenance');
  assert.equal(directory.code, 2);
  assert.match(directory.stderr, /which gateway\?/);
});

test('a damaged block is left out, and said to be', async (t) => {
  const plant = await createPlant(t);
  await fill(plant);
  await plant.checkpoint();
  // press-1/monitor/0/5: four entries come before the samples.
  await plant.close();
  const store = await openStore(join(plant.directory, 'journal'), 'existing');
  const { key } = (await blocksOf(store)).find(({ block }) => block === 14)!;
  const stored = await must(store, key);
  await store.compact(keys.blocks).finally(() => store.close());
  await flipRaw(plant.directory, '.ldb', stored.subarray(-60));
  const { code, stderr, json } = await answered(
    ...[
      'export',
      '--directory',
      plant.directory,
      '--output',
      plant.path('x'),
      '--machine',
      'press-1',
      '--stream',
      'monitor',
    ],
  );
  assert.equal(code, 0, stderr);
  assert.match(stderr, /WARNING: damaged blocks cannot be read: 14/);
  assert.equal(json.samples, 9);
  const report = await succeeded('verify', plant.path('x'));
  const [stream] = report.streams as { missing: number }[];
  assert.equal(stream?.missing, 1);
});
