/** Follows docs/verifying.md: its Python, run as it stands there, must come to what `kosmos verify` comes to. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { type ExportBundle, encodeExport } from '../../runtime/core/log/export.ts';
import { ROOT } from '../lab/program.ts';
import { flipped, made, succeeded } from './plant.ts';

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function python(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile('python3', args, { timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) || 1 : 0, stdout, stderr });
    });
  });
}

/** The blocks of one language in the page, in order. */
async function blocks(language: string): Promise<readonly string[]> {
  const page = await readFile(join(ROOT, 'docs', 'verifying.md'), 'utf8');
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, text]) => text!);
}

let without: string | false = false;
before(async () => {
  const { code, stderr } = await python(
    '-c',
    'import tomllib, cryptography.hazmat.primitives.asymmetric.ed25519',
  );
  if (code !== 0)
    without = `python3 >= 3.11 with the package cryptography is not there: ${stderr.trim().split('\n').at(-1)}`;
});

test('the script of the page proves what verify proves, and refuses what is changed', async (t) => {
  if (without) return t.skip(without);
  const { plant, file, bundle } = await made(t);
  const script = plant.path('check.py');
  await writeFile(script, (await blocks('python')).join('\n'));
  const { code, stdout, stderr } = await python(script, file);
  assert.equal(code, 0, stderr);
  const report = await succeeded('verify', file);
  assert.equal((stdout.match(/^sample /gm) ?? []).length, report.samples);
  assert.match(stdout, /^sample press-1\/monitor\/0\/3 \d+ \[3\.5\]$/m);
  assert.match(stdout, /^sample press-1\/burst\/0\/19 \d+ \[19\.0, -19\.0\]$/m);
  assert.match(stdout, /^maintenance press-1 failure bearing seized$/m);
  const { sha256 } = report.judged_by as { sha256: string };
  assert.ok(stdout.includes(`agreement of plant, epoch 1: sha256 ${sha256}\n`), stdout);
  const changes: readonly ExportBundle[] = [
    { ...bundle, document: Buffer.concat([bundle.document!, Buffer.from('\n')]) },
    { ...bundle, checkpoint: bundle.checkpoint.replace(/\n(\d+)\n/, '\n1$1\n') },
    { ...bundle, checkpoint: bundle.checkpoint.split('\n').slice(0, -2).concat('').join('\n') },
    { ...bundle, proof: [flipped(bundle.proof[0]!), ...bundle.proof.slice(1)] },
    {
      ...bundle,
      blocks: bundle.blocks.map((block, at) =>
        at === 3 ? { ...block, entries: [flipped(block.entries[0]!)] } : block,
      ),
    },
    { ...bundle, openings: bundle.openings.map((one) => ({ ...one, opening: flipped(one.opening, 10) })) },
  ];
  for (const [number, change] of changes.entries()) {
    const changed = plant.path('changed');
    await writeFile(changed, encodeExport(change));
    assert.equal((await python(script, changed)).code, 1, `change ${number}`);
  }
});

test('the steps of the page lead from a tlog-proof to its leaf', async (t) => {
  if (without) return t.skip(without);
  const { plant } = await made(t);
  for (const sample of ['press-1/burst/0/4', 'press-1/monitor/0/4']) {
    const file = plant.path('sample.tlog-proof');
    await succeeded(
      ...[
        'export',
        '--directory',
        plant.directory,
        '--sample',
        sample,
        '--format',
        'tlog-proof',
        '--output',
        file,
      ],
    );
    const extra = /^extra (.*)$/m.exec(await readFile(file, 'utf8'))![1]!;
    await writeFile(plant.path('extra.cbor'), Buffer.from(extra, 'base64'));
    const page = await readFile(join(ROOT, 'docs', 'verifying.md'), 'utf8');
    const inner = /<<'END'\n(.*?)^END$/ms.exec(page)![1]!;
    const script = plant.path('leaf.py');
    await writeFile(script, inner.replace("'extra.cbor'", JSON.stringify(plant.path('extra.cbor'))));
    const { stdout, stderr } = await python(script);
    assert.equal(stderr, '');
    assert.equal(stdout.trim(), (await readFile(`${file}.leaf`)).subarray(-32).toString('hex'));
  }
});
