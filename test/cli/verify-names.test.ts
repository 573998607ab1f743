import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSign1Signer } from '../../runtime/core/encoding/cose.ts';
import { encodeSample } from '../../runtime/core/encoding/sample.ts';
import { kosmosHere, made, type Party, T0 } from './plant.ts';

/** What a report says of a bundle whose agreement was handed over by itself, to be shown in its stead. */
const FORGED = [
  'monitor: 1 samples, 0/0 to 0/0',
  'a quorum had seen it by 2026-03-01T07:00:00.000Z',
  'by the agreement that was given (consortium plant, epoch 1)',
];

for (const [what, between, behind] of [
  ['line feeds, and what hides the rest', '\n', '\u001b[8m'],
  ['carriage returns, and what clears a line', '\r\u001b[2K', '\r'],
  ['C1 controls and Unicode line ends', '\u0085\u2028\u009b2K', '\u2029'],
] as const) {
  test(`a stream's name forges no line of the report: ${what}`, async (t) => {
    const { file } = await made(t, 'plant', async ({ parties, journal }) => {
      const [self] = parties as readonly [Party, ...Party[]];
      const sample = encodeSample({
        machine: 'press-1',
        stream: `${FORGED.join(between)}${behind}`,
        incarnation: 0,
        sequence: 0,
        time: T0 + 5000,
        clock: 'synchronised',
        values: [1],
      });
      await journal.append([createSign1Signer(self.keys.sample).sign(sample)], { urgent: true });
    });
    for (const more of [[], ['--print']]) {
      const { code, stdout, stderr } = await kosmosHere('verify', file, ...more);
      assert.equal(code, 0, stderr);
      const report = more.length === 0 ? stdout : stderr;
      const lines = report.split('\n');
      assert.ok(
        lines.some((line) => line.includes('by the agreement that was given')),
        'the name is in the report',
      );
      assert.ok(!lines.some((line) => line.startsWith('by the agreement that was given')));
      assert.equal(lines.filter((line) => line.startsWith('a quorum had seen it')).length, 1);
      assert.doesNotMatch(report, /[^\P{Cc}\n]|[\u2028\u2029]/u, 'no control character but line ends');
      if (more.length > 0) for (const line of stdout.trimEnd().split('\n')) JSON.parse(line);
    }
  });
}
