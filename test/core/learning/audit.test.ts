import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { type AuditBound, auditBound } from '../../../runtime/core/privacy/audit.ts';
import { collectScores } from '../../../scripts/audit/canary.ts';
import {
  claimedEpsilon,
  type Sabotage,
  SETTINGS,
  type Setting,
  sabotages,
} from '../../../scripts/audit/settings.ts';
import { startWasm } from './wasm.ts';

/**
 * Each bound is wrong with at most this probability, over seeds; the seed is fixed and was not searched for. So an
 * honest trainer is convicted by one of the audits here with a probability below 10^-6.
 */
const ERROR = 1e-7;

function settingOf(name: string, change: Partial<Setting> = {}): Setting {
  return { ...SETTINGS.find((setting) => setting.name === name)!, ...change };
}

function audit(
  setting: Setting,
  trainings: number,
  sabotage?: Sabotage,
): { sure: AuditBound; likely: AuditBound } {
  const scores = collectScores(setting, {
    trainings,
    perRun: 50,
    seed: 'test',
    ...(sabotage && { sabotage }),
  });
  const judge = (error: number) =>
    auditBound(scores, { delta: setting.delta, confidence: 1 - error, choosing: 0.2 });
  return { sure: judge(ERROR), likely: judge(0.05) };
}

const window = settingOf('window-poisson-flat', { steps: 2 });
const episode = settingOf('episode-poisson-flat', { steps: 2 });
const adaptive = settingOf('window-poisson-adaptive', { steps: 2 });
const passes = settingOf('window-passes-flat');

describe('an audit of the trainer with canaries', () => {
  before(startWasm);

  for (const [setting, trainings] of [
    [window, 3000],
    [episode, 2000],
    [adaptive, 2000],
    [passes, 1000],
  ] as const) {
    it(`acquits ${setting.name}, and sees the canary`, () => {
      const claimed = claimedEpsilon(setting);
      const { sure, likely } = audit(setting, trainings);
      assert.ok(sure.epsilon <= claimed, `${sure.epsilon} is proved, ${claimed} claimed`);
      // A canary that never reached the trainer would acquit everybody.
      assert.ok(likely.epsilon > claimed / 4, `only ${likely.epsilon} of ${claimed} is seen`);
    });
  }

  for (const [setting, sabotage, trainings] of [
    [window, 'noiseless', 1500],
    [window, 'unclipped', 1500],
    [window, 'half-noise', 6000],
    [episode, 'windows', 1500],
    [adaptive, 'count-noiseless', 1500],
    [passes, 'noiseless', 1000],
  ] as const) {
    it(`convicts a trainer of ${setting.name} that is ${sabotage}`, () => {
      assert.ok(sabotages(setting).includes(sabotage));
      const claimed = claimedEpsilon(setting);
      const { sure } = audit(setting, trainings, sabotage);
      assert.ok(sure.epsilon > claimed, `only ${sure.epsilon} is proved, ${claimed} claimed`);
    });
  }
});
