import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { killAgainAndAgain } from './kills.ts';

const KILLS = 15;

test(`${KILLS} times SIGKILL at random moments (scripts/soak/kills.ts does a thousand)`, async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-test-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const told = await killAgainAndAgain({
    directory,
    kills: KILLS,
    maxLifeMs: 250,
    progress: () => undefined,
  });
  assert.ok(told.acknowledged > 0 && told.checkpoints > 0);
});
