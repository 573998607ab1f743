/** The rooms that learn and predict, put together: dataset, trainer, learner, adoption, prediction. */
import { ruleFor } from './core/learning/alarm.ts';
import type { ModelSpec } from './core/learning/model.ts';
import type { GatewayOptions } from './gateway-options.ts';
import { createDevice } from './services/health/device.ts';
import { createLateness } from './services/health/lateness.ts';
import { ADOPTION, openAdoption } from './services/training/adoption.ts';
import { openAlarms } from './services/training/alarm.ts';
import { createCalibration } from './services/training/calibration.ts';
import { createCheckpoints } from './services/training/checkpoint.ts';
import { createDataset } from './services/training/dataset.ts';
import type { EvidenceBook } from './services/training/evidence.ts';
import { createGovernor } from './services/training/governor.ts';
import { openHoldout } from './services/training/holdout.ts';
import { createLearner } from './services/training/learner.ts';
import { createPredictor, type Prediction } from './services/training/prediction.ts';
import { createTrainer } from './services/training/trainer.ts';
import type { Journal } from './state/journal/journal.ts';
import type { Ledger } from './state/ledger/ledger.ts';
import type { MaintenanceBook } from './state/maintenance/book.ts';
import { createKeyring } from './state/provenance/judge.ts';
import type { Recorder } from './state/provenance/recorder.ts';
import type { Roster } from './state/provenance/roster.ts';
import { lossOf, sheetOf, windowsOf } from './terms.ts';

export interface LearningRoomsOptions {
  readonly journal: Journal;
  readonly recorder: Recorder;
  readonly book: MaintenanceBook;
  readonly ledger: Ledger;
  readonly evidence: EvidenceBook;
  readonly roster: Roster;
  readonly model: ModelSpec;
  /** Whether this gateway has taught the federation's model already, by whatever it has stored. */
  readonly hasTaught: boolean;
  /** Whether recordings that are being read have come to their end. */
  readonly settled: () => boolean;
  readonly publishSoon: () => void;
  readonly emit: (prediction: Prediction) => void;
}

export type LearningRooms = Awaited<ReturnType<typeof openLearningRooms>>;

/** Opens what is kept; nothing runs until `start`. */
export async function openLearningRooms(
  { settings, agreement, trainerModule, log }: GatewayOptions,
  rooms: LearningRoomsOptions,
) {
  const { journal, recorder, book, ledger, evidence, roster, model } = rooms;
  const { terms } = agreement;
  const { alarm: agreed, coverage } = terms.prediction;
  const learning = { model, sheet: sheetOf(terms), windows: windowsOf(terms) };
  const holdout = await openHoldout({
    section: journal.section('holdout'),
    write: (writes) => journal.write(writes, { urgent: true }),
    holdBack: settings.training.holdBack,
    trained: rooms.hasTaught,
  });
  // All at once, so that roles are drawn by lot.
  await holdout.admit(settings.machine.map(({ id }) => id));
  const dataset = createDataset({
    journal,
    book,
    verify: createKeyring(() => roster.keys(settings.gateway.name), 'sample').verifyAny,
    stream: terms.learning.stream,
    channels: terms.channel,
    onChange: (machines) => {
      holdout
        .admit(machines)
        .catch((error: Error) => log('training')('error', `roles of machines: ${error.message}`));
      predictor.refresh(machines);
      adoption.reconsider();
    },
    log: log('training'),
  });
  const alarms =
    agreed &&
    (await openAlarms({
      rule: ruleFor(terms.learning.label, agreed, coverage),
      section: journal.section('alarm'),
      write: (writes) => journal.write(writes),
      async record(fields, writes) {
        const digest = await book.record(fields, writes);
        rooms.publishSoon();
        return digest;
      },
      log: log('prediction'),
    }));
  const calibration = createCalibration({ ...learning, coverage, dataset, holdout });
  const predictor = createPredictor({
    ...learning,
    dataset,
    calibration,
    alarms,
    roleOf: holdout.roleOf,
    log: log('prediction'),
    emit: rooms.emit,
  });
  const adoption = await openAdoption({
    ...learning,
    agreement: agreement.hash,
    dataset,
    roleOf: holdout.roleOf,
    whyNone: holdout.why,
    alarm: agreed,
    section: journal.section(ADOPTION),
    enter: (body, writes) => recorder.entry('adoption', body, writes),
    onAdopted: (present) =>
      present
        ? predictor.use(present.version, present.parameters, present.figures !== undefined)
        : predictor.rest(),
    log: log('prediction'),
  });
  const checkpoints = createCheckpoints(journal, log('training'));
  const { governor, lateness } = createBrake({ settings, log }, journal);
  const { nice, memoryLimit, idle, timeLimit, cpuShare, checkpoint } = settings.training;
  const trainer = createTrainer({
    childModule: trainerModule,
    nice,
    memoryLimitBytes: memoryLimit,
    idleMs: idle,
    timeLimitMs: timeLimit,
    cpuShare,
    checkpointMs: checkpoint,
    checkpoints,
    brake: governor,
    log: log('training'),
  });
  const learner = createLearner({
    ...learning,
    terms,
    agreement: agreement.hash,
    dataset,
    ledger,
    trainer,
    settled: rooms.settled,
    loss: lossOf(terms),
    evidence,
    trains: holdout.trains,
    forgetting: () => checkpoints.forgetting(),
    hasStream: hasStream(settings, terms.learning.stream, log),
    live: settings.machine.some((machine) => machine.stream.some((stream) => stream.intervalMs > 0)),
  });
  return {
    dataset,
    holdout,
    adoption,
    calibration,
    predictor,
    learner: {
      ...learner,
      readiness: (): ReturnType<typeof learner.readiness> =>
        // Why it pauses is nobody else's business.
        governor.paused() ? { kind: 'waiting', why: 'training pauses on this device' } : learner.readiness(),
    },
    trainer,
    /** @returns what stops it again. */
    start(): () => Promise<void> {
      dataset.start();
      adoption.start();
      lateness.start();
      governor.start();
      return async () => {
        governor.stop();
        lateness.stop();
        await Promise.all([dataset.stop(), trainer.stop()]);
        await adoption.stop();
        await alarms?.settled();
      };
    },
  };
}

/** What makes training wait: the device's health, and samples that come late or cannot be kept. */
function createBrake({ settings, log }: Pick<GatewayOptions, 'settings' | 'log'>, journal: Journal) {
  const { maxTemperature, minFree, maxLateness } = settings.training;
  const device = createDevice();
  const lateness = createLateness();
  const governor = createGovernor({
    limits: { maxTemperature, minFree, maxLatenessMs: maxLateness },
    readers: {
      temperature: async () => (await device.temperature())?.celsius,
      throttling: async () => (await device.throttling())?.now,
      freeBytes: () => device.freeBytes(settings.gateway.directory),
      trouble: () => journal.trouble(),
      latenessMs: () => lateness.recent(),
    },
    log: log('training'),
  });
  return { governor, lateness };
}

function hasStream(
  settings: GatewayOptions['settings'],
  stream: string,
  log: GatewayOptions['log'],
): boolean {
  const has = settings.machine.some((machine) => machine.stream.some(({ name }) => name === stream));
  if (!has && settings.machine.length > 0) {
    log('training')(
      'warn',
      `the agreement learns from the stream ${stream}, and no machine here has one of that name`,
    );
  }
  return has;
}
