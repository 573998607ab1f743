import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { createSigner } from '#ed25519';
import { randomBytes } from '#random';
import { privacyHandlers } from '../../runtime/cli/privacy/handlers.ts';
import { privacy, privacyCheck, privacyOpen } from '../../runtime/cli/privacy.ts';
import { draftAgreement } from '../../runtime/cli/setup/draft.ts';
import { draftTerms } from '../../runtime/cli/setup/terms.ts';
import type { Io } from '../../runtime/cli/terminal/io.ts';
import { runProgram } from '../../runtime/cli/terminal/program.ts';
import { toBase64 } from '../../runtime/core/encoding/base64.ts';
import { simulatedPreset } from '../../runtime/core/learning/presets.ts';
import { epsilonOf } from '../../runtime/core/privacy/accountant.ts';
import { createControl } from '../../runtime/services/control/server.ts';
import { priceOf } from '../../runtime/services/training/eligible.ts';
import { readAgreement } from '../../runtime/state/agreement/agreement.ts';
import { ALL_TIME } from '../../runtime/state/ledger/charge.ts';
import type { BudgetReport } from '../../runtime/state/ledger/report.ts';
import { endorse } from '../../runtime/state/provenance/endorsement.ts';
import { newKeys, temporaryDirectory } from '../services/consortium.ts';
import { DAY, episode, openLearning } from '../services/training/budget-helpers.ts';

async function kosmos(...argv: readonly string[]) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const io = { stdout, stderr, stdin: new PassThrough(), env: {} } as unknown as Io;
  const commands = [privacy, privacyOpen, privacyCheck].map((command) => ({
    name: command.name,
    summary: command.summary,
    load: async () => command,
  }));
  const code = await runProgram({ name: 'kosmos', summary: '', version: '0', commands }, argv, io);
  const text = (stream: PassThrough) => String(stream.read() ?? '');
  return { code, out: text(stdout), err: text(stderr) };
}

const lastJson = (out: string) => JSON.parse(out.trim().split('\n').at(-1)!);

/** A gateway's directory with an agreement, and a learner over it. */
async function gatewayOf(t: TestContext, unit: 'window' | 'episode', period?: number) {
  const directory = await temporaryDirectory(t);
  const keys = newKeys();
  const others = ['acme', 'bolt', 'cog'].map((member) => ({ member, keys: newKeys() }));
  const drafted = draftTerms({
    consortium: 'plant',
    stream: 'main',
    preset: simulatedPreset,
    fleet: { episodes: 4, windowsALife: 60 },
    unit,
    epsilon: 8,
    delta: 1e-5,
    rounds: 10,
    checkpointIntervalMs: 5000,
    intervalMs: 200,
  });
  const terms = { ...drafted, privacy: { ...drafted.privacy!, ...(period ? { period } : {}) } };
  const text = draftAgreement(
    terms,
    { channels: [{ name: 'load', unit: '%', low: 0, high: 100, leastWidth: 1 }] },
    others.map(({ member, keys: own }) => ({
      name: member,
      key: toBase64(createSigner(randomBytes(32)).publicKey),
      gateways: [
        {
          member,
          name: `${member}-1`,
          address: '127.0.0.1:7400',
          identity: toBase64(own.identity.publicKey),
          endorsement: toBase64(endorse(own, member, `${member}-1`, 0)),
        },
      ],
    })),
  );
  const read = readAgreement(text, 'agreement.toml');
  assert.ok(read.ok, JSON.stringify(read));
  await writeFile(join(directory, 'agreement.toml'), text);
  const agreement = read.value;
  const learning = await openLearning(t, directory, keys, {
    privacy: agreement.terms.privacy,
    unit,
    agreement: agreement.hash,
  });
  const price = priceOf(agreement.terms, agreement.hash, 0)!;
  return { directory, agreement, learning, price };
}

test('what was spent, on what, and what is left: the same from a daemon and from its directory', async (t) => {
  const { directory, agreement, learning, price } = await gatewayOf(t, 'episode', 10 * DAY);
  const { delta } = price.budget;
  const charge = (round: number, from: number, to: number) =>
    learning.ledger.charge({ ...price.charge, round, from, to }, price.budget);
  for (const round of [3, 4, 7]) await charge(round, 0, 10 * DAY);
  await charge(8, 10 * DAY, 20 * DAY);
  const control = createControl(join(directory, 'control.sock'), privacyHandlers(agreement, learning));
  await control.start();
  const running = await kosmos('privacy', '--directory', directory, '--json');
  const shown = await kosmos('privacy', '--directory', directory);
  await control.stop();
  await learning.journal.close();
  const stopped = await kosmos('privacy', '--directory', directory, '--json');
  assert.deepEqual([running.code, stopped.code], [0, 0], running.err + stopped.err);
  const { budget } = lastJson(stopped.out) as { budget: BudgetReport };
  assert.deepEqual(lastJson(running.out), { budget });

  const { mechanism } = price.charge;
  const costOf = (rounds: number) => epsilonOf([{ ...mechanism, steps: mechanism.steps * rounds }], delta);
  assert.deepEqual(
    budget.blocks.map(({ from, to, spent, charges }) => [from, to, spent, charges]),
    [
      [0, 10 * DAY, costOf(3), 3],
      [10 * DAY, 20 * DAY, costOf(1), 1],
      [20 * DAY, null, 0, 0],
    ],
  );
  for (const { rounds, charges, spent, left } of budget.blocks) {
    assert.ok(
      costOf(charges + rounds) <= 8 && costOf(charges + rounds + 1) > 8,
      `${rounds} after ${charges}`,
    );
    assert.equal(left, 8 - spent!);
  }
  assert.deepEqual(
    budget.charges.map(({ rounds, from, to }) => [rounds, from, to]),
    [
      [{ first: 3, last: 7, count: 3 }, 0, 10 * DAY],
      [{ first: 8, last: 8, count: 1 }, 10 * DAY, 20 * DAY],
    ],
  );
  assert.match(shown.out, /epsilon \d+\.\d+ of 8 spent where most was \(episode-level, delta 0.00001\)/);
  assert.match(shown.out, /before 1970-01-11 .*8\b/);
  assert.match(shown.out, /rounds 3 to 7, 3 times +episode/);
});

test('a window-level budget is shown with what it is worth for a sample and for a run', async (t) => {
  const { directory, agreement, learning, price } = await gatewayOf(t, 'window');
  const charge = { ...price.charge, ...ALL_TIME };
  const mechanism = { samplingRate: 0.02, noiseMultiplier: 8, steps: 5 };
  await learning.ledger.charge({ ...charge, mechanism }, price.budget);
  const control = createControl(join(directory, 'control.sock'), privacyHandlers(agreement, learning));
  await control.start();
  const { out, code } = await kosmos('privacy', '--directory', directory);
  assert.equal(code, 0);
  await learning.ledger.charge(charge, price.budget);
  const more = await kosmos('privacy', '--directory', directory);
  await control.stop();
  assert.match(
    more.out,
    /for a run of \d+ windows, it promises nothing: no epsilon worth the name \(episode-level\)/,
  );
  assert.match(out, /window-level/);
  const { learning: terms } = agreement.terms;
  const told = (unit: string, what: string) => {
    const line = out.split('\n').find((one) => one.startsWith(`for ${what}`));
    assert.match(
      line ?? '',
      new RegExp(`epsilon \\S+ \\(${unit}-level, delta 0.00001\\)|no epsilon worth the name`),
    );
    return Number(/epsilon (\d+\.\d+)/.exec(line!)?.[1] ?? Number.POSITIVE_INFINITY);
  };
  const own = Number(/^epsilon (\d+\.\d+)/.exec(out)![1]);
  const sample = told('sample', `a sample, which is in ${terms.window} windows`);
  const run = told('episode', `a run of ${terms.cap} windows`);
  assert.ok(sample > 5 * own && run > sample && Number.isFinite(sample), `${own}, ${sample}, ${run}`);
});

test('an opening goes through the daemon, and an auditor can check it; a changed one does not pass', async (t) => {
  const { directory, agreement, learning } = await gatewayOf(t, 'window');
  learning.give(episode('press', DAY));
  await learning.update(5);
  const alone = await kosmos('privacy', 'open', '--directory', directory, '--round', '5', '--part', 'seed');
  assert.equal(alone.code, 1);
  assert.match(alone.err, /no kosmos daemon runs/);

  const control = createControl(join(directory, 'control.sock'), privacyHandlers(agreement, learning));
  await control.start();
  const ask = (...more: readonly string[]) => kosmos('privacy', 'open', '--directory', directory, ...more);
  const wrong = await ask('--round', '5', '--part', 'set');
  assert.match(wrong.err, /no noise covers that/);
  assert.match((await ask('--round', '6', '--part', 'seed')).err, /no update of round 6/);
  const opened = await ask('--round', '5', '--part', 'seed', '--json');
  assert.equal(opened.code, 0, opened.err);
  const again = lastJson((await ask('--round', '5', '--part', 'seed', '--json')).out);
  await control.stop();
  const file = lastJson(opened.out);
  assert.equal(learning.ledger.charges().length, 2);
  assert.equal(learning.ledger.charges()[1]!.mechanism.samplingRate, 1);
  assert.deepEqual({ ...again, charge: file.charge }, file);
  assert.equal(again.charge, null);

  const path = join(directory, 'opened.json');
  const check = async (change: object) => {
    await writeFile(path, JSON.stringify({ ...file, ...change }));
    return kosmos('privacy', 'check', path);
  };
  assert.match(
    (await check({})).out,
    /this is the seed that the entry of round 5 commits to; .* key [0-9a-f]{16}/,
  );
  const other = '00'.repeat(32);
  for (const [change, why] of [
    [{ seed: other }, /not the seed/],
    [{ salt: other }, /not the seed/],
    [{ round: 6 }, /another round/],
    [{ agreement: other }, /another round/],
    [{ evidence: toBase64(Uint8Array.of(0x80)) }, /form is unknown/],
    [{ part: 'set' }, /episodes/],
    [{ more: 1 }, /more/],
  ] as const) {
    const { code, err } = await check(change);
    assert.equal(code, 1);
    assert.match(err, why);
  }
});
