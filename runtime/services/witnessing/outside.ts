/** Everything of this room that deals with strangers: the public listener and the witnesses from outside. */
import { formatPolicy } from '../../core/log/policy.ts';
import type { Journal } from '../../state/journal/journal.ts';
import { createForeignWitnesses, type ForeignWitnessStatus, foreignLogs } from './foreign.ts';
import { type LogParty, policyInForce } from './names.ts';
import { createPublicListener, type PublicStatus } from './public.ts';
import type { Publisher } from './publisher.ts';
import type { PublicSettings, WitnessingSettings } from './settings.ts';
import type { Witness } from './witness.ts';
import type { Answer } from './witnessing.ts';

export interface OutsideOptions {
  readonly settings: { readonly public: PublicSettings; readonly witnessing: WitnessingSettings };
  readonly self: LogParty;
  /** All of the consortium, this gateway among them. */
  readonly parties: readonly LogParty[];
  readonly journal: Pick<Journal, 'tile' | 'bundle'>;
  readonly publisher: Pick<Publisher, 'shown' | 'status' | 'foreignTarget'>;
  readonly witness: Pick<Witness, 'addCheckpoint' | 'newest'>;
  /** Answers a request for a mirrored log. */
  readonly mirrored: (path: string) => Promise<Answer> | undefined;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface OutsideStatus {
  readonly public: PublicStatus;
  readonly witnesses: readonly ForeignWitnessStatus[];
}

export interface Outside {
  /** @throws Error when the public listener cannot listen. */
  start(): Promise<void>;
  stop(): Promise<void>;
  status(): OutsideStatus;
}

export function createOutside(options: OutsideOptions): Outside {
  const { settings, self, parties, journal, publisher, witness, log } = options;
  const foreignOrigins = [...foreignLogs(settings.witnessing).keys()];
  const listener = createPublicListener({
    settings: settings.public,
    source: {
      checkpoint: () => publisher.shown(),
      published: () => publisher.status().published,
      tile: (level, index, width) => journal.tile(level, index, width),
      entries: (index, width) => journal.bundle(index, width),
      policy: () => policyOfLog(self, parties),
      origins: () => [...parties.map(({ origin }) => origin), ...foreignOrigins],
      witnessed: (origin) => witness.newest(origin),
      mirrored: options.mirrored,
    },
    addCheckpoint: (body) => witness.addCheckpoint(body),
    log,
  });
  const witnesses = createForeignWitnesses({
    settings: settings.witnessing,
    target: () => publisher.foreignTarget(),
    tile: (level, index, width) => journal.tile(level, index, width),
    log,
  });
  return {
    async start() {
      await listener.start();
      witnesses.start();
    },
    async stop() {
      await Promise.all([listener.stop(), witnesses.stop()]);
    },
    status: () => ({ public: listener.status(), witnesses: witnesses.status() }),
  };
}

/**
 * The epoch's policy for this log alone, with the key that it signs with now: that is what is served beside it,
 * and torchwood 0.9.0 takes a policy of several logs as one that asks for the signatures of all.
 */
function policyOfLog(self: LogParty, parties: readonly LogParty[]): string {
  const policy = policyInForce(parties);
  const { name, keyId } = self.log;
  const logs = policy.logs.filter(({ vkey }) => vkey.name === name && vkey.keyId === keyId);
  return formatPolicy({ ...policy, logs });
}
