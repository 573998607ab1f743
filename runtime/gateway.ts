/** The composition root: the only file that knows every room, and hands each what it needs. */
import { join } from 'node:path';
import { createBusAccess } from '../drivers/bus/access.ts';
import { catalogue } from '../drivers/catalogue.ts';
import type { BusAccess } from '../drivers/driver.ts';
import { createSimulatedPlant } from '../drivers/simulated/plant.ts';
import { toHex } from './core/encoding/base64.ts';
import { createSign1Signer } from './core/encoding/cose.ts';
import { initialParameters } from './core/learning/model.ts';
import { answerDamage, createDailyScrub } from './damage.ts';
import type { GatewayOptions } from './gateway-options.ts';
import { type LearningRooms, openLearningRooms } from './learning-rooms.ts';
import { createLogRooms, openKeys } from './log-rooms.ts';
import { samplesOf, TELEMETRY } from './samples.ts';
import { createAcquisition } from './services/acquisition/acquisition.ts';
import type { StreamSettings } from './services/acquisition/settings.ts';
import { createDeposits } from './services/federation/deposits.ts';
import { createFederation } from './services/federation/federation.ts';
import { openMemory } from './services/federation/memory.ts';
import { createParties } from './services/federation/parties.ts';
import { textResponse } from './services/peering/message.ts';
import { createPeering } from './services/peering/peering.ts';
import { createTelemetry } from './services/telemetry/telemetry.ts';
import { type EvidenceBook, openEvidenceBook } from './services/training/evidence.ts';
import { createStatements } from './services/witnessing/statements.ts';
import type { GatewaySettings } from './settings.ts';
import { openStanding } from './standing.ts';
import type { Agreement } from './state/agreement/agreement.ts';
import { readBounded } from './state/files.ts';
import { type Journal, openJournal } from './state/journal/journal.ts';
import { createDepositBook } from './state/ledger/deposits.ts';
import { type Ledger, openLedger } from './state/ledger/ledger.ts';
import { type MaintenanceBook, openMaintenanceBook } from './state/maintenance/book.ts';
import { certificatePath } from './state/provenance/certificate.ts';
import { createClock } from './state/provenance/clock.ts';
import { enterRaised, GATEWAY, markInstance } from './state/provenance/incarnation.ts';
import { keyPath } from './state/provenance/keys.ts';
import { openRecorder } from './state/provenance/recorder.ts';
import { ownKeysFault, type Roster } from './state/provenance/roster.ts';
import { tellDamage } from './state/provenance/tell-damage.ts';
import { createTlsTrust } from './state/provenance/tls-trust.ts';
import { type GatewayStatus, statusOf } from './status.ts';
import { averageModels, modelOf } from './terms.ts';

export interface Gateway {
  /** @throws Error when a port is taken or something stored is damaged; what had been started is stopped again. */
  start(): Promise<void>;
  /** What is in hand is durable, children have ended. */
  stop(): Promise<void>;
  status(): GatewayStatus;
  /** The model that predicts here; version 0 and no parameters before the first. */
  model(): {
    readonly version: number;
    readonly parameters: readonly number[];
    readonly calibration: ReturnType<LearningRooms['calibration']['threshold']>;
  };
  /** The newest model of the federation, whatever this gateway thinks of it; members know it, so it is no secret among them. */
  federatedModel(): {
    readonly version: number;
    readonly hash: string;
    readonly parameters: readonly number[];
  };
  readonly book: MaintenanceBook;
  readonly roster: Roster;
  readonly journal: Journal;
  readonly ledger: Ledger;
  readonly evidence: EvidenceBook;
  readonly agreementFile: string;
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
    createSign1Signer(options.keys.sample),
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
  const roster = await openKeys(options, journal);
  const parties = createParties(agreement, name, roster);
  await answerDamage(journal, options);
  if (settings.telemetry.url ?? settings.telemetry.embedded) await journal.cursor(TELEMETRY);
  const isCopy =
    (await markInstance(settings.gateway.directory, journal, keys.witness.publicKey)) === 'copied';
  if (isCopy) log('recovery')('warn', 'this directory is a copy: numbers go on in a higher incarnation');
  const recorder = await openRecorder(journal, keys, createClock());
  const book = await openMaintenanceBook(journal, recorder);
  const ledger = await openLedger(journal, recorder, (entry) => deposits.deposit(entry));
  const evidence = await openEvidenceBook(journal, recorder);
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
  const learning = await openLearningRooms(options, {
    ...{ journal, recorder, book, ledger, evidence, roster, model },
    hasTaught: evidence.counts().updates > 0 || memory.contributed() > 0,
    settled: () => acquisition.settled(),
    publishSoon: () => witnessing.publishSoon(),
    emit: (prediction) => telemetry.publishPrediction(prediction.machine, { ...prediction }),
  });
  const { learner, adoption, calibration } = learning;
  const telemetry = createTelemetry({
    consortium: terms.consortium,
    gateway: name,
    settings: settings.telemetry,
    samples: samplesOf(journal),
    log: log('telemetry'),
  });
  const trust = createTlsTrust(roster, (message) => log('keys')('warn', message));
  const peering = createPeering({
    name,
    reachable: agreement.gateways.some((gateway) => gateway.name === name && gateway.host !== undefined),
    settings: settings.peering,
    key: await readBounded(keyPath(settings.gateway.directory, 'tls'), MAX_PEM),
    certificate: await readBounded(certificatePath(settings.gateway.directory), MAX_PEM),
    peers: agreement.gateways
      .filter((gateway) => gateway.name !== name)
      .map(({ name: peer, host, port }) => ({ name: peer, host, port, tlsKeys: () => trust.keysOf(peer) })),
    stranger: trust.learn,
    handler: async (peer, { path, body }) =>
      standing.refusal(path) ??
      (await deposits.handle(peer, path, body)) ??
      (await federation.handle(peer, path, body)) ??
      (await statements.handle(peer, path, body)) ??
      (await exchange.handle(peer, path, body)) ??
      (await witnessing.handle(path, body)) ??
      textResponse(404, `no such path: ${path}\n`),
    log: log('peering'),
  });
  const federation = createFederation({
    parties,
    model,
    memory,
    signer: createSign1Signer(keys.sample),
    learner: {
      ...learner,
      readiness: () => (standing.doubt() ? { kind: 'waiting', why: standing.doubt()! } : learner.readiness()),
    },
    request: (peer, path, body, limitMs) =>
      standing.doubt()
        ? Promise.reject(new Error('not asked: this directory may not be the newest'))
        : peering.request(peer, path, body, limitMs),
    connected: (peer) => !standing.doubt() && peering.connected(peer),
    logRound: async (body, writes) => void (await recorder.entry('round', body, writes)),
    onModel: (recent) => {
      const { version, hash } = recent.at(-1)!.head;
      if (version > 0) adoption.consider(version, hash, averageModels(recent, terms.federation.averageLast));
    },
    log: log('federation'),
  });
  roster.onChange((gateway) => {
    const why = gateway === name ? ownKeysFault(roster, name, keys) : undefined;
    if (why) log('keys')('error', why);
    peering.recheck();
  });
  const statements = createStatements({
    roster,
    peers: agreement.gateways.map((gateway) => gateway.name).filter((peer) => peer !== name),
    request: (peer, path, body) => peering.request(peer, path, body),
    connected: (peer) => peering.connected(peer),
    section: journal.section('statements'),
    enter: (statement, writes) => recorder.entry('keys', statement, writes),
    log: log('keys'),
  });
  const logRooms = createLogRooms(options, journal, peering, roster, {
    heldBack: () => standing.heldBack(),
    unsure: () => standing.unsure(),
  });
  const { publisher, exchange, witnessing, outside } = logRooms;
  const deposits = createDeposits({
    parties,
    book: createDepositBook(journal),
    memory,
    ledger,
    request: (peer, path, body, limitMs) => peering.request(peer, path, body, limitMs),
    log: log('recovery'),
  });
  const standing = await openStanding(options, { journal, roster, peering, logRooms, deposits });
  await exchange.open();
  await publisher.open();

  const status = statusOf({
    options,
    journal,
    recorder,
    acquisition,
    learning,
    ledger,
    telemetry,
    peering,
    federation,
    logRooms,
    standing,
  });
  const scrub = createDailyScrub(journal, options);
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
    roster,
    journal,
    ledger,
    evidence,
    agreementFile: settings.gateway.agreement!,
    machines: settings.machine.map((machine) => machine.id),
    publishSoon: () => witnessing.publishSoon(),
    status,
    model() {
      const { version, parameters } = adoption.present() ?? { version: 0, parameters: new Float64Array(0) };
      return { version, parameters: [...parameters], calibration: calibration.threshold() };
    },
    federatedModel() {
      const { version, hash } = memory.model().head;
      const parameters = averageModels(memory.recent(), terms.federation.averageLast);
      return { version, hash: toHex(hash), parameters: [...parameters] };
    },
    async start() {
      try {
        running.push(() => peering.stop());
        await peering.start();
        // Before the first number is given: numbers of a directory that is behind were given already.
        await standing.confirm();
        running.push(() => standing.stop());
        standing.start();
        await enterRaised(journal.section(GATEWAY), recorder);
        await recorder.entry('start', [options.version]);
        await tellDamage(journal, recorder);
        scrub.start();
        running.push(() => scrub.stop());
        await logAgreement(journal, recorder, agreement);
        await evidence.settle();
        statements.start();
        running.push(() => statements.stop());
        telemetry.start();
        running.push(() => telemetry.stop());
        witnessing.start();
        running.push(() => witnessing.stop());
        exchange.start();
        running.push(() => exchange.stop());
        running.push(() => outside.stop());
        await outside.start();
        running.push(learning.start());
        running.push(async () => deposits.stop());
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
