/** How fast this machine trains: a few steps of made-up data, in the training process. */
import type { PrivacyUnit } from '../../core/learning/job.ts';
import type { ModelSpec } from '../../core/learning/model.ts';
import { createTrainer } from '../../services/training/trainer.ts';
import { trialJob } from '../../services/training/trial.ts';
import { trainerModule } from '../project.ts';

/** What is trained, as an agreement has it. */
export interface Net {
  /** Layer sizes, for people. */
  readonly name: string;
  readonly model: ModelSpec;
  readonly unit: PrivacyUnit;
  readonly samplingRate: number;
  /** Units: windows or episodes. */
  readonly expectedBatch: number;
}

export interface Speed {
  readonly unit: PrivacyUnit;
  readonly windowsPerStep: number;
  readonly millisecondsPerStep: number;
  readonly stepsPerSecond: number;
}

export interface Trained {
  readonly backend: { readonly name: string; readonly detail: string };
  readonly speeds: readonly Speed[];
}

const FIRST_STEPS = 5;
const AIM_MS = 1500;
const FEWEST = 10;
const MOST = 300;
const MOST_WINDOWS = 4096;
/** Of a made-up episode; the engines of C-MAPSS live for about as long. */
const EPISODE = 200;
const LIMIT_MS = 60_000;

/** Trains with privacy and without; a backend that does not work gives the name `none` and says why. */
export async function trySpeed(net: Net, nice: number, memoryLimitBytes: number): Promise<Trained> {
  const trainer = createTrainer({
    childModule: trainerModule(),
    nice,
    memoryLimitBytes,
    idleMs: LIMIT_MS,
    timeLimitMs: LIMIT_MS,
    log: () => {},
  });
  const never = new AbortController().signal;
  try {
    const speeds: Speed[] = [];
    const units: readonly PrivacyUnit[] = net.unit === 'none' ? ['none'] : [net.unit, 'none'];
    for (const unit of units) {
      const trial = trialOf(net);
      const train = async (steps: number): Promise<number> => {
        await trainer.train(trialJob({ ...trial, unit, steps }), never);
        return trainer.status().lastStepMs ?? Number.NaN;
      };
      const first = await train(FIRST_STEPS);
      const steps = Math.min(MOST, Math.max(FEWEST, Math.round(AIM_MS / first)));
      const millisecondsPerStep = await train(steps);
      speeds.push({
        unit,
        windowsPerStep: Math.round(trial.windows * trial.samplingRate),
        millisecondsPerStep,
        stepsPerSecond: 1000 / millisecondsPerStep,
      });
    }
    return { backend: trainer.status().backend!, speeds };
  } catch (error) {
    const detail = (error as Error).message;
    return { backend: trainer.status().backend ?? { name: 'none', detail }, speeds: [] };
  } finally {
    await trainer.stop();
  }
}

/** As many windows as such a step has, whichever unit is drawn: both are measured on equal work. */
function trialOf({ model, unit, samplingRate, expectedBatch }: Net) {
  const units = Math.max(1, Math.round(expectedBatch / samplingRate));
  const windows = Math.min(MOST_WINDOWS, unit === 'episode' ? units * EPISODE : units);
  return { model, windows, episodeLength: EPISODE, samplingRate };
}
