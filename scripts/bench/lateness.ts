import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSigner } from '#ed25519';
import { createBusAccess } from '../../drivers/bus/access.ts';
import { catalogue } from '../../drivers/catalogue.ts';
import { createSimulatedPlant } from '../../drivers/simulated/plant.ts';
import { createSign1Signer } from '../../runtime/core/encoding/cose.ts';
import type { TrainingJob } from '../../runtime/core/learning/job.ts';
import type { ModelSpec } from '../../runtime/core/learning/model.ts';
import { createAcquisition } from '../../runtime/services/acquisition/acquisition.ts';
import type { MachineSettings } from '../../runtime/services/acquisition/settings.ts';
import type { SensorLike } from '../../runtime/services/acquisition/stream.ts';
import { createCheckpoints } from '../../runtime/services/training/checkpoint.ts';
import { trainingSettings } from '../../runtime/services/training/settings.ts';
import { createTrainer, type Trainer } from '../../runtime/services/training/trainer.ts';
import { trialJob } from '../../runtime/services/training/trial.ts';
import { openJournal } from '../../runtime/state/journal/journal.ts';
import { journalSettings } from '../../runtime/state/journal/settings.ts';
import { openMaintenanceBook } from '../../runtime/state/maintenance/book.ts';
import { createClock } from '../../runtime/state/provenance/clock.ts';
import { openRecorder } from '../../runtime/state/provenance/recorder.ts';
import { type Bench, type Measured, summarise } from './harness.ts';

const STREAMS = 8;
const INTERVAL_MS = 10;
const TURNS = Number(process.env.KOSMOS_BENCH_LATENESS_TURNS ?? 6);
const TURN_MS = 8000;
const WARM_UP_MS = 3000;
const LIMIT_MS = 2;
const PERMILLE = 999;
const MODEL: ModelSpec = { kind: 'dense', inputs: 420, hidden: [64, 32], activation: 'elu' };
/** Of one run; between two runs the next job's data go to the process. */
const STEPS = 200;
const NET = '420-64-32-1, batch 256';
const TRIAL = { model: MODEL, windows: 2560, episodeLength: 200, samplingRate: 0.1, steps: STEPS };

/**
 * How late a reading is in hand, against the moment that its schedule names, while nothing else goes on and while
 * the training process works: the real rooms, in turn, in one run.
 */
export const lateness: Bench = {
  name: 'lateness',
  unit: 'ms at the 99.9th percentile above that without training',
  against: `limit ${LIMIT_MS} ms`,
  run: measure,
};

async function measure(): Promise<Measured> {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-bench-'));
  const key = createSigner(new Uint8Array(32).fill(7));
  const keys = { identity: key, sample: key, log: key, witness: key, tls: key };
  const journal = await openJournal(
    join(directory, 'journal'),
    journalSettings.parse({}),
    createSign1Signer(key),
  );
  const recorder = await openRecorder(journal, keys, createClock());
  const book = await openMaintenanceBook(journal, recorder);
  const watch = createWatch();
  const acquisition = createAcquisition({
    machines: machines(),
    recorder,
    book,
    openSensor: openSimulated(watch),
    onEvent: () => {},
    log: () => {},
  });
  const settings = trainingSettings.parse({});
  const trainer = createTrainer({
    childModule: new URL('../../dist/trainer.mjs', import.meta.url),
    execArgv: [],
    nice: settings.nice,
    cpuShare: settings.cpuShare,
    memoryLimitBytes: settings.memoryLimit,
    idleMs: settings.idle,
    timeLimitMs: settings.timeLimit,
    checkpointMs: settings.checkpoint,
    checkpoints: createCheckpoints(journal, () => {}),
    log: () => {},
  });
  try {
    acquisition.start();
    // Made beforehand: a million made-up values hold up this process, which a gateway has from its journal.
    const job = trialJob({ ...TRIAL, unit: 'window' });
    await sleep(WARM_UP_MS);
    const idle: number[][] = [];
    const training: number[][] = [];
    let steps = 0;
    const before = processorTime();
    for (let turn = 0; turn < 2 * TURNS; turn++) {
      // A B B A: a machine that grows busier meanwhile does so for both.
      const trains = turn % 4 === 1 || turn % 4 === 2;
      const end = new AbortController();
      const work = trains ? trainUntil(trainer, job, end.signal) : undefined;
      watch.begin();
      await sleep(TURN_MS);
      (trains ? training : idle).push(watch.end());
      end.abort();
      steps += (await work) ?? 0;
      await sleep(500);
    }
    const busy = (processorTime().busy - before.busy) / (processorTime().all - before.all);
    const cores = `${(busy * cpus().length).toFixed(1)} of the machine’s ${cpus().length} cores were busy, other programs’ work included`;
    return report(idle, training, `${steps} private steps of ${NET}`, cores);
  } finally {
    await trainer.stop();
    await acquisition.stop();
    await journal.close();
    await rm(directory, { recursive: true, force: true });
  }
}

/** Run after run; the steps done. The run in hand when `signal` fires is finished. */
async function trainUntil(trainer: Trainer, job: TrainingJob, signal: AbortSignal): Promise<number> {
  const never = new AbortController().signal;
  let done = 0;
  while (!signal.aborted) {
    await trainer.train(job, never, { resume: `bench ${done}` });
    done += STEPS;
  }
  return done;
}

/** Of all processors since the machine's start, ms. */
function processorTime(): { readonly busy: number; readonly all: number } {
  let busy = 0;
  let all = 0;
  for (const { times } of cpus()) {
    const total = times.user + times.nice + times.sys + times.irq + times.idle;
    all += total;
    busy += total - times.idle;
  }
  return { busy, all };
}

function report(idle: number[][], training: number[][], work: string, cores: string): Measured {
  const [before, during] = [percentile(idle.flat()), percentile(training.flat())];
  const value = during - before;
  const missed = (turns: number[][]) => turns.flat().filter((late) => late >= INTERVAL_MS).length;
  return {
    value,
    ratio: value / LIMIT_MS,
    sides: {
      'without training': summarise(idle.map(percentile)),
      'while training': summarise(training.map(percentile)),
    },
    note:
      `${before.toFixed(2)} ms and ${during.toFixed(2)} ms over ${idle.flat().length} and ${training.flat().length} moments of ` +
      `${STREAMS} streams of ${1000 / INTERVAL_MS} Hz, of which ${missed(idle)} and ${missed(training)} came a whole interval late; ` +
      `${work} in turns of ${TURN_MS / 1000} s; ${cores}`,
  };
}

function percentile(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * PERMILLE) / 1000))]!;
}

interface Watch {
  begin(): void;
  /** The lateness of each moment of each stream since `begin`, ms. */
  end(): number[];
  /** A reading of `stream` is in hand. */
  note(stream: string): void;
}

function createWatch(): Watch {
  let collecting: number[] | undefined;
  let offset = 0;
  const last = new Map<string, number>();
  return {
    begin() {
      // The schedule follows the wall clock, whose milliseconds are too coarse: where its next one begins is found out.
      const first = Date.now();
      while (Date.now() === first);
      offset = Date.now() - performance.now();
      last.clear();
      collecting = [];
    },
    end() {
      const collected = collecting ?? [];
      collecting = undefined;
      return collected;
    },
    note(stream) {
      if (collecting === undefined) return;
      const now = performance.now() + offset;
      // Timers fire up to a millisecond early.
      const moment = Math.floor((now + 1) / INTERVAL_MS);
      const before = last.get(stream);
      last.set(stream, moment);
      if (before === undefined) return;
      // Moments that went by without a reading are as late as the reading that came for them.
      for (let due = before + 1; due <= moment; due++) collecting.push(Math.max(0, now - due * INTERVAL_MS));
    },
  };
}

function machines(): MachineSettings[] {
  return Array.from({ length: STREAMS }, (_, index) => ({
    id: `machine-${index}`,
    stream: [
      {
        driver: 'machine-monitor',
        name: 'monitor',
        intervalMs: INTERVAL_MS,
        phaseMs: 0,
        signing: 'sample',
        whenFull: 'drop-oldest',
        settings: { bus: `sim:${index}` },
      },
    ],
  })) as MachineSettings[];
}

function openSimulated(watch: Watch): (machine: string) => Promise<SensorLike> {
  const simulated = createSimulatedPlant({ seed: 1, machines: STREAMS, cycleMs: 1000, now: Date.now });
  const access = createBusAccess({ simulated });
  return async (machine) => {
    const index = Number(machine.split('-')[1]);
    const sensor = await catalogue['machine-monitor']!.open(simulated.monitorSettings(index), access);
    return {
      ...sensor,
      channels: sensor.channels,
      async read() {
        const reading = await sensor.read();
        watch.note(machine);
        return reading;
      },
      close: () => sensor.close(),
    };
  };
}
