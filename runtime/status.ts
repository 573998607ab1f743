/** Everything an operator may want to know of a running gateway, as plain data. */
import type { Acquisition } from './services/acquisition/acquisition.ts';
import type { Federation } from './services/federation/federation.ts';
import type { Peering } from './services/peering/peering.ts';
import type { Telemetry } from './services/telemetry/telemetry.ts';
import type { Dataset } from './services/training/dataset.ts';
import type { Predictor } from './services/training/prediction.ts';
import type { Publisher } from './services/witnessing/publisher.ts';
import type { Witness } from './services/witnessing/witness.ts';
import type { GatewaySettings } from './settings.ts';
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
  readonly dataset: Dataset;
  readonly predictor: Predictor;
  readonly ledger: Ledger;
  readonly telemetry: Telemetry;
  readonly peering: Peering;
  readonly federation: Federation;
  readonly publisher: Publisher;
  readonly witness: Witness;
}

/** A function that looks at all rooms. */
export function statusOf(rooms: Rooms) {
  const {
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
      journal: { ...journal.state(), trouble: journal.trouble() ?? null, incarnation: recorder.incarnation },
      acquisition: {
        signed: recorder.signed(),
        settled: acquisition.settled(),
        streams: acquisition.status(),
      },
      log,
      witness: { ...witnessed, heads: Object.fromEntries(witness.heads()) },
      signaturesVerified: dataset.counts().verified + witnessed.checked + log.cosignatures,
      peers: peering.status(),
      refusedConnections: peering.refused(),
      federation: federation.status(),
      learning: { ...dataset.counts(), lag: dataset.lag(), episodes: dataset.revision() },
      privacy:
        unit === 'none' || !terms.privacy
          ? null
          : {
              unit,
              delta: terms.privacy.delta,
              budget: terms.privacy.epsilon,
              spent: ledger.spent(unit, terms.privacy.delta),
              charges: ledger.charges().length,
            },
      telemetry: telemetry.status(),
      predictions: predictor.latest().slice(0, 20),
    };
  };
}
