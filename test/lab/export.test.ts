import assert from 'node:assert/strict';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Consortium, createConsortium, type LabGateway } from './consortium.ts';
import { type Ended, kosmos, labPort, lastJson, until } from './program.ts';

let three: Consortium;
let gateway: LabGateway;
let url: string;

before(async () => {
  const port = await labPort();
  url = `http://127.0.0.1:${port}`;
  three = await createConsortium({
    gateways: 3,
    machines: 'live',
    commitInterval: '10ms',
    more: (index) => (index === 0 ? `[public]\nlisten = "127.0.0.1:${port}"\n` : ''),
  });
  [gateway] = three.gateways as [LabGateway];
  await three.startAll();
  await gateway.ask('maintenance', { machine: 'press-1', type: 'fault', note: 'it squeaks' });
  await until(
    'a final checkpoint over some blocks',
    async () => (await gateway.mustStatus()).log.finalSize > 60,
  );
});

after(() => three?.remove());

const file = (name: string) => join(three.directory, name);

async function ok(...args: string[]): Promise<Ended> {
  const ended = await kosmos(three.program, args);
  assert.equal(ended.code, 0, `${args.join(' ')}: ${ended.stderr}`);
  return ended;
}

/** An agreement that a third party has from elsewhere. */
async function agreement(): Promise<string> {
  const path = file('theirs.toml');
  await copyFile(join(gateway.directory, 'agreement.toml'), path);
  await copyFile(join(gateway.directory, 'agreement.toml.sigs'), `${path}.sigs`);
  return path;
}

test('a gateway that runs exports a machine, and the file alone convinces a third party', async () => {
  const bundle = file('press-1.kosmos');
  const made = await ok(
    'export',
    '--directory',
    gateway.directory,
    '--machine',
    'press-1',
    '--output',
    bundle,
    '--json',
  );
  const summary = lastJson(made.stdout);
  assert.equal(summary.final, true);
  assert.ok((summary.samples as number) > 10, made.stdout);
  const judged = await ok('verify', bundle, '--agreement', await agreement(), '--json');
  const report = lastJson(judged.stdout);
  assert.equal(report.samples, summary.samples);
  assert.deepEqual([report.machines, report.opened], [['press-1'], summary.maintenance]);
  assert.equal((report.cosigned as unknown[]).length, 3);
  const printed = await ok('verify', bundle, '--print');
  assert.match(printed.stdout, /"type":"fault","note":"it squeaks"/);
  assert.ok(!printed.stdout.includes('press-2'));

  const bytes = new Uint8Array(await readFile(bundle));
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(file('changed'), bytes);
  assert.equal((await kosmos(three.program, ['verify', file('changed')])).code, 1);
});

test('one sample as a tlog-proof; the log at its URL, and that it grows', async () => {
  const proof = file('sample.tlog-proof');
  const theirs = await agreement();
  await ok(
    ...['export', '--config', gateway.config, '--sample', 'press-2/monitor/0/3', '--format', 'tlog-proof'],
    ...['--output', proof],
  );
  const report = lastJson((await ok('verify', proof, '--agreement', theirs, '--json')).stdout);
  const { machine, sequence } = report.entry as { machine: string; sequence: number };
  assert.deepEqual([machine, sequence, report.signature], ['press-2', 3, true]);

  const kept = file('checkpoint');
  const first = lastJson((await ok('verify', url, '--agreement', theirs, '--output', kept, '--json')).stdout);
  await until(
    'the log grows',
    async () => (await gateway.mustStatus()).log.finalSize > (first.size as number),
  );
  const second = lastJson(
    (await ok('verify', url, '--agreement', theirs, '--since', kept, '--output', kept, '--json')).stdout,
  );
  assert.equal(second.since, first.size);
});

test('the directory of a gateway that has stopped gives the same entries', async () => {
  const range = ['--machine', 'press-1', '--to', new Date().toISOString()];
  await until('what there is now is final', async () => {
    const { log, journal } = await gateway.mustStatus();
    const blocks = journal.blocks;
    return until(
      'its checkpoint',
      async () => (await gateway.mustStatus()).log.finalSize >= blocks && log,
      {},
    );
  });
  const [asked, direct] = [file('asked'), file('direct')];
  await ok('export', '--directory', gateway.directory, ...range, '--output', asked);
  assert.deepEqual(await three.stopAll(), [0, 0, 0]);
  await ok('export', '--directory', gateway.directory, ...range, '--output', direct);
  const entries = async (path: string) => (await ok('verify', path, '--print')).stdout;
  assert.equal(await entries(asked), await entries(direct));
});
