/** Everything an operator may want to know of a running gateway, as plain data. */
import type { LearningRooms } from './learning-rooms.ts';
import type { LogRooms } from './log-rooms.ts';
import type { Acquisition } from './services/acquisition/acquisition.ts';
import type { Federation } from './services/federation/federation.ts';
import type { Peering } from './services/peering/peering.ts';
import type { Telemetry } from './services/telemetry/telemetry.ts';
import type { GatewaySettings } from './settings.ts';
import type { Standing } from './standing.ts';
import type { Agreement } from './state/agreement/agreement.ts';
import type { Journal } from './state/journal/journal.ts';
import type { Ledger } from './state/ledger/ledger.ts';
import type { Recorder } from './state/provenance/recorder.ts';

export type GatewayStatus = ReturnType<ReturnType<typeof statusOf>>;

export interface Rooms {
  readonly options: {
    readonly settings: GatewaySettings;
    readonly agreement: Agreement;
    readonly version: string;
  };
  readonly journal: Journal;
  readonly recorder: Recorder;
  readonly acquisition: Acquisition;
  readonly learning: LearningRooms;
  readonly ledger: Ledger;
  readonly telemetry: Telemetry;
  readonly peering: Peering;
  readonly federation: Federation;
  readonly logRooms: LogRooms;
  readonly standing: Standing;
}

/** A function that looks at all rooms. */
export function statusOf(rooms: Rooms) {
  const {
    options,
    journal,
    recorder,
    acquisition,
    learning: { dataset, predictor, holdout, adoption, calibration, trainer },
    ledger,
    telemetry,
    peering,
    federation,
    logRooms: { publisher, witness, exchange, outside },
    standing,
  } = rooms;
  const { gateway } = options.settings;
  const { terms } = options.agreement;
  const { unit } = terms.training;
  const started = Date.now();
  return () => {
    const witnessed = witness.counts();
    const log = publisher.status();
    return {
      gateway: gateway.name,
      member: gateway.member,
      consortium: terms.consortium,
      epoch: terms.epoch,
      version: options.version,
      pid: process.pid,
      uptimeSeconds: Math.round((Date.now() - started) / 1000),
      memoryBytes: process.memoryUsage.rss(),
      journal: journalStatus(journal, recorder),
      acquisition: {
        signed: recorder.signed(),
        settled: acquisition.settled(),
        streams: acquisition.status(),
      },
      log,
      witness: { ...witnessed, heads: Object.fromEntries(witness.heads()) },
      signaturesVerified: dataset.counts().verified + witnessed.checked + log.cosignatures,
      exchange: exchange.status(),
      standing: standing.status(),
      outside: outside.status(),
      peers: peering.status(),
      refusedConnections: peering.refused(),
      federation: federation.status(),
      learning: {
        ...dataset.counts(),
        lag: dataset.lag(),
        episodes: dataset.revision(),
        refusals: dataset.refusals(),
      },
      privacy:
        unit === 'none' || !terms.privacy
          ? null
          : {
              unit,
              delta: terms.privacy.delta,
              budget: terms.privacy.epsilon,
              spent: ledger.bound(unit, terms.privacy.delta),
              charges: ledger.charges().length,
            },
      telemetry: telemetry.status(),
      training: trainer.status(),
      held: { ...holdout.counts(), why: holdout.why() ?? null },
      adoption: adoption.status(),
      calibration: calibration.status(),
      predictions: predictor.latest().slice(0, 20),
    };
  };
}

function journalStatus(journal: Journal, recorder: Recorder) {
  const { blocks, first, bytes, entries, droppedUnread, lost } = journal.state();
  return {
    blocks,
    first,
    bytes,
    diskBytes: journal.diskBytes(),
    entries,
    droppedUnread,
    lostBlocks: lost.reduce((sum, [from, to]) => sum + to - from, 0),
    trouble: journal.trouble() ?? null,
    damage: journal.damage() ?? null,
    givenUp: recorder.lost(),
    incarnation: recorder.incarnation,
  };
}
