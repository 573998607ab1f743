/** The composition root: the only file that knows every room, and hands each what it needs. */
import { join } from 'node:path';
import { createVerifier } from '#ed25519';
import { createBusAccess } from '../drivers/bus/access.ts';
import { catalogue } from '../drivers/catalogue.ts';
import type { BusAccess } from '../drivers/driver.ts';
import { createSimulatedPlant } from '../drivers/simulated/plant.ts';
import { toHex } from './core/encoding/base64.ts';
import { createSign1Signer, parseSign1 } from './core/encoding/cose.ts';
import { KIND, kindOf } from './core/encoding/kind.ts';
import { decodeSample } from './core/encoding/sample.ts';
import { initialParameters } from './core/learning/model.ts';
import { quorum } from './core/log/policy.ts';
import type { createLog } from './log.ts';
import { createAcquisition } from './services/acquisition/acquisition.ts';
import type { StreamSettings } from './services/acquisition/settings.ts';
import { createFederation } from './services/federation/federation.ts';
import { openMemory } from './services/federation/memory.ts';
import { createParties } from './services/federation/parties.ts';
import { textResponse } from './services/peering/message.ts';
import { createPeering } from './services/peering/peering.ts';
import type { SampleSource } from './services/telemetry/samples.ts';
import { createTelemetry } from './services/telemetry/telemetry.ts';
import { createDataset } from './services/training/dataset.ts';
import { createLearner } from './services/training/learner.ts';
import { createPredictor } from './services/training/prediction.ts';
import { createTrainer } from './services/training/trainer.ts';
import { logParties, ownSigners } from './services/witnessing/names.ts';
import { createPublisher } from './services/witnessing/publisher.ts';
import { createWitness } from './services/witnessing/witness.ts';
import { ADD_CHECKPOINT, createWitnessing } from './services/witnessing/witnessing.ts';
import type { GatewaySettings } from './settings.ts';
import type { Agreement } from './state/agreement/agreement.ts';
import { readBounded } from './state/files.ts';
import { type Journal, openJournal, type Position } from './state/journal/journal.ts';
import { createJournalReader } from './state/journal/reader.ts';
import { openLedger } from './state/ledger/ledger.ts';
import { type MaintenanceBook, openMaintenanceBook } from './state/maintenance/book.ts';
import { certificatePath } from './state/provenance/certificate.ts';
import { createClock } from './state/provenance/clock.ts';
import { type GatewayKeys, keyPath } from './state/provenance/keys.ts';
import { openRecorder } from './state/provenance/recorder.ts';
import { type GatewayStatus, statusOf } from './status.ts';
import { averageModels, modelOf, sheetOf, windowsOf } from './terms.ts';

export interface GatewayOptions {
  readonly settings: GatewaySettings;
  readonly agreement: Agreement;
  readonly keys: GatewayKeys;
  /** Main module of the training process. */
  readonly trainerModule: URL;
  readonly version: string;
  readonly log: ReturnType<typeof createLog>;
}

export interface Gateway {
  /** @throws Error when a port is taken or something stored is damaged; what had been started is stopped again. */
  start(): Promise<void>;
  /** What is in hand is durable, children have ended. */
  stop(): Promise<void>;
  status(): GatewayStatus;
  /** The model that predicts here; members know it, so it is no secret among them. */
  model(): { readonly version: number; readonly hash: string; readonly parameters: readonly number[] };
  readonly book: MaintenanceBook;
  /** Machines of the configuration. */
  readonly machines: readonly string[];
  /** A maintenance entry was made by hand: publish it at once. */
  publishSoon(): void;
}

const MAX_PEM = 16_384;

/** Opens everything that is kept, and puts the rooms together. Nothing runs until `start`. */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const journal = await openJournal(
    join(options.settings.gateway.directory, 'journal'),
    options.settings.journal,
  );
  try {
    return await assemble(options, journal);
  } catch (error) {
    await journal.close();
    throw error;
  }
}

async function assemble(options: GatewayOptions, journal: Journal): Promise<Gateway> {
  const { settings, agreement, keys, log } = options;
  const { terms } = agreement;
  const { name } = settings.gateway;
  const model = modelOf(terms);
  const parties = createParties(agreement, name);
  const recorder = await openRecorder(journal, keys, createClock());
  const book = await openMaintenanceBook(journal, recorder);
  const ledger = await openLedger(journal, recorder);
  const memory = await openMemory(
    journal,
    model,
    initialParameters(model, agreement.hash),
    toHex(agreement.hash),
    terms.federation.averageLast,
  );
  const buses = openBuses(settings);
  const acquisition = createAcquisition({
    machines: settings.machine,
    recorder,
    book,
    openSensor: (_machine, stream) => openSensor(stream, buses),
    onEvent: () => witnessing.publishSoon(),
    log: log('acquisition'),
  });
  const { nice, memoryLimit, idle, timeLimit } = settings.training;
  const trainer = createTrainer({
    childModule: options.trainerModule,
    nice,
    memoryLimitBytes: memoryLimit,
    idleMs: idle,
    timeLimitMs: timeLimit,
    log: log('training'),
  });
  const dataset = createDataset({
    journal,
    book,
    verify: createVerifier(keys.sample.publicKey),
    stream: terms.learning.stream,
    channels: terms.channel.length,
    onChange: (machines) => predictor.refresh(machines),
    log: log('training'),
  });
  const predictor = createPredictor({
    model,
    sheet: sheetOf(terms),
    windows: windowsOf(terms),
    dataset,
    emit: (prediction) => telemetry.publishPrediction(prediction.machine, { ...prediction }),
  });
  const { stream } = terms.learning;
  const hasStream = settings.machine.some((machine) =>
    machine.stream.some(({ name: own }) => own === stream),
  );
  if (!hasStream && settings.machine.length > 0) {
    log('training')(
      'warn',
      `the agreement learns from the stream ${stream}, and no machine here has one of that name`,
    );
  }
  const learner = createLearner({
    terms,
    agreement: agreement.hash,
    model,
    sheet: sheetOf(terms),
    windows: windowsOf(terms),
    dataset,
    ledger,
    trainer,
    settled: () => acquisition.settled(),
    hasStream,
    live: settings.machine.some((machine) => machine.stream.some((stream) => stream.intervalMs > 0)),
  });
  const telemetry = createTelemetry({
    consortium: terms.consortium,
    gateway: name,
    settings: settings.telemetry,
    samples: samplesOf(journal),
    log: log('telemetry'),
  });
  const peering = createPeering({
    settings: settings.peering,
    key: await readBounded(keyPath(settings.gateway.directory, 'tls'), MAX_PEM),
    certificate: await readBounded(certificatePath(settings.gateway.directory), MAX_PEM),
    peers: agreement.gateways
      .filter((gateway) => gateway.name !== name)
      .map(({ name: peer, host, port, endorsement }) => ({
        name: peer,
        host,
        port,
        tlsKey: endorsement.publicKeys.tls,
      })),
    handler: async (peer, { path, body }) =>
      (await federation.handle(peer, path, body)) ??
      (await witnessing.handle(path, body)) ??
      textResponse(404, `no such path: ${path}\n`),
    log: log('peering'),
  });
  const federation = createFederation({
    parties,
    model,
    memory,
    signer: createSign1Signer(keys.sample),
    learner,
    request: (peer, path, body, limitMs) => peering.request(peer, path, body, limitMs),
    connected: (peer) => peering.connected(peer),
    logRound: async (body, writes) => void (await recorder.entry('round', body, writes)),
    onModel: (recent) => {
      const { version } = recent.at(-1)!.head;
      if (version > 0) predictor.use(version, averageModels(recent, terms.federation.averageLast));
    },
    log: log('federation'),
  });
  const { publisher, witness, witnessing } = openLog(options, journal, peering);
  await publisher.open();

  const status = statusOf({
    options,
    journal,
    recorder,
    acquisition,
    dataset,
    predictor,
    ledger,
    telemetry,
    peering,
    federation,
    publisher,
    witness,
  });
  const running: (() => Promise<void>)[] = [() => journal.close()];

  async function stop(): Promise<void> {
    // The last started first; the journal closes when nobody can write any more.
    const [close, ...rooms] = running.splice(0);
    const report = log('gateway');
    await Promise.all(
      rooms
        .reverse()
        .map((end) => end().catch((error: Error) => report('error', `stopping failed: ${error.message}`))),
    );
    await close?.();
  }

  return {
    book,
    machines: settings.machine.map((machine) => machine.id),
    publishSoon: () => witnessing.publishSoon(),
    status,
    model() {
      const { version, hash } = memory.model().head;
      const parameters = averageModels(memory.recent(), terms.federation.averageLast);
      return { version, hash: toHex(hash), parameters: [...parameters] };
    },
    async start() {
      try {
        running.push(() => peering.stop());
        await peering.start();
        await recorder.entry('start', [options.version]);
        await logAgreement(journal, recorder, agreement);
        telemetry.start();
        running.push(() => telemetry.stop());
        witnessing.start();
        running.push(() => witnessing.stop());
        dataset.start();
        running.push(() => dataset.stop());
        running.push(() => trainer.stop());
        federation.start();
        running.push(() => federation.stop());
        acquisition.start();
        running.push(() => acquisition.stop());
      } catch (error) {
        await stop();
        throw error;
      }
    },
    stop,
  };
}

function openLog(
  { agreement, keys, settings, log }: GatewayOptions,
  journal: Journal,
  peering: ReturnType<typeof createPeering>,
) {
  const all = logParties(agreement);
  const self = all.find((party) => party.gateway === settings.gateway.name)!;
  const signers = ownSigners(keys, self.origin);
  const publisher = createPublisher({
    journal,
    self,
    others: all.filter((party) => party !== self),
    ...signers,
    quorum: quorum(agreement.members.length),
    ask: (gateway, body) => peering.request(gateway, ADD_CHECKPOINT, new TextEncoder().encode(body)),
    connected: (gateway) => peering.connected(gateway),
    report: log('witnessing'),
  });
  const witness = createWitness({
    journal,
    cosigner: signers.cosigner,
    verifiersOf: (origin) => {
      const party = all.find((candidate) => candidate.origin === origin);
      return party && [party.log];
    },
    log: log('witnessing'),
  });
  const witnessing = createWitnessing({
    journal,
    publisher,
    witness,
    intervalMs: agreement.terms.log.checkpointInterval,
    log: log('witnessing'),
  });
  return { publisher, witness, witnessing };
}

/** The agreement's hash goes into the log once for every agreement. */
async function logAgreement(
  journal: Journal,
  recorder: Awaited<ReturnType<typeof openRecorder>>,
  agreement: Agreement,
): Promise<void> {
  const section = journal.section('gateway');
  const key = `agreement/${toHex(agreement.hash)}`;
  if (await section.get(key)) return;
  await recorder.entry(
    'agreement',
    [agreement.terms.consortium, agreement.terms.epoch, agreement.hash],
    [section.put(key, agreement.hash)],
  );
}

function openBuses({ simulation }: GatewaySettings): BusAccess {
  if (!simulation) return createBusAccess();
  const { seed, machines, cycle, start } = simulation;
  const simulated = createSimulatedPlant({ seed, machines, cycleMs: cycle, now: Date.now, startMs: start });
  return createBusAccess({ simulated });
}

async function openSensor(stream: StreamSettings, buses: BusAccess) {
  // The configuration has been judged with this very catalogue.
  return catalogue[stream.driver]!.open(stream.settings, buses);
}

/** The journal's samples as telemetry wants them: entries of other kinds are passed over. */
function samplesOf(journal: Journal): SampleSource {
  let reader = createJournalReader(journal, 'telemetry');
  return {
    async next(limit, signal) {
      while (!signal.aborted) {
        const entries = await reader.next(limit, signal);
        const samples = entries.flatMap(({ bytes, after }) => {
          const { payload } = parseSign1(bytes);
          if (kindOf(payload) !== KIND.sample) return [];
          const { machine, stream } = decodeSample(payload);
          return [{ machine, stream, bytes, position: after }];
        });
        if (samples.length > 0) return samples;
      }
      return [];
    },
    commit: (position) => reader.commit(position as Position),
    async rewind() {
      reader = createJournalReader(journal, 'telemetry');
    },
  };
}
