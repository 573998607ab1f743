/**
 * Witnesses and logs from outside the consortium. Such a witness is asked for cosignatures besides those of the
 * members; it counts for none of them. Such a log is cosigned by this gateway's witness.
 */
import { createCosignatureVerifier } from '../../core/log/cosignature.ts';
import {
  createNoteVerifier,
  judgeNote,
  type NoteSignature,
  type NoteVerifier,
  parseNote,
  parseSignatureLines,
} from '../../core/log/note.ts';
import { consistencyProof } from '../../core/log/proof.ts';
import { hashReaderFromTiles } from '../../core/log/tiles.ts';
import { formatVkey } from '../../core/log/vkey.ts';
import { formatAddCheckpoint, parseConflict } from '../../core/log/witness.ts';
import type { ForeignTarget } from './publisher.ts';
import type { WitnessingSettings } from './settings.ts';
import { submitCheckpoint } from './submit.ts';

export interface ForeignOptions {
  readonly settings: WitnessingSettings;
  /** The newest checkpoint of this log; undefined before the first. */
  readonly target: () => ForeignTarget | undefined;
  readonly tile: (level: number, index: number, width: number) => Promise<Uint8Array>;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** For tests: a number in [0, 1) that spreads the pauses. */
  readonly random?: () => number;
}

export interface ForeignWitnessStatus {
  readonly name: string;
  readonly url: string;
  /** The size it cosigned last since the start. */
  readonly cosignedSize: number;
  readonly cosignatures: number;
  /** Why it has not cosigned the last time it was asked. */
  readonly problem: string | undefined;
}

export interface ForeignWitnesses {
  start(): void;
  stop(): Promise<void>;
  /** Asks all now that are not being asked and not paused; resolves when they have answered. */
  ask(): Promise<void>;
  status(): readonly ForeignWitnessStatus[];
}

/** A witness that fails is left alone for twice as long each time, up to this many intervals. */
const MAX_PAUSE_INTERVALS = 32;

interface Asked {
  readonly url: string;
  readonly verifier: NoteVerifier;
  knownSize: number;
  cosignedSize: number;
  cosignatures: number;
  failures: number;
  /** Not asked before this time of performance.now(). */
  notBefore: number;
  problem: string | undefined;
  busy: Promise<void> | undefined;
}

export function createForeignWitnesses(options: ForeignOptions): ForeignWitnesses {
  const { settings, log, random = Math.random } = options;
  const { foreignIntervalMs, foreignRequestLimitMs } = settings;
  const witnesses = settings.foreignWitness.map(
    ({ url, vkey }): Asked => ({
      url,
      verifier: createCosignatureVerifier(vkey),
      knownSize: 0,
      cosignedSize: 0,
      cosignatures: 0,
      failures: 0,
      notBefore: 0,
      problem: undefined,
      busy: undefined,
    }),
  );
  let timer: NodeJS.Timeout | undefined;

  async function askOne(witness: Asked, target: ForeignTarget): Promise<void> {
    const { size } = target;
    for (let attempt = 0; attempt < 2; attempt++) {
      const known = witness.knownSize;
      const reader = hashReaderFromTiles(size, options.tile);
      const proof = known > 0 && known < size ? await consistencyProof(known, size, reader) : [];
      const { status, body } = await submitCheckpoint(
        witness.url,
        formatAddCheckpoint(known, proof, target.note),
        foreignRequestLimitMs,
      );
      if (status === 200) {
        const cosignatures = cosignaturesIn(body, target.note, witness.verifier);
        witness.knownSize = size;
        await target.add(cosignatures);
        witness.cosignedSize = size;
        witness.cosignatures += 1;
        return;
      }
      if (status !== 409) throw new Error(`it answers with status ${status}: ${firstLine(body)}`);
      const conflict = parseConflict(body);
      if (conflict > size) {
        throw new Error(
          `it has cosigned size ${conflict}, this log has published ${size}: this directory is older than what was published`,
        );
      }
      witness.knownSize = conflict;
    }
    throw new Error('its stored size changes under the request');
  }

  function turn(witness: Asked): Promise<void> {
    const target = options.target();
    if (witness.busy) return witness.busy;
    if (!target || target.size === witness.cosignedSize || performance.now() < witness.notBefore) {
      return Promise.resolve();
    }
    witness.busy = askOne(witness, target)
      .then(() => {
        if (witness.problem !== undefined) log('info', `${witness.verifier.name} cosigns again`);
        witness.failures = 0;
        witness.problem = undefined;
      })
      .catch((error: Error) => {
        witness.failures += 1;
        const intervals = Math.min(MAX_PAUSE_INTERVALS, 2 ** Math.min(witness.failures, 16));
        witness.notBefore = performance.now() + foreignIntervalMs * (intervals - 1) * (0.5 + random() / 2);
        if (witness.problem !== error.message) {
          log('warn', `no cosignature of ${witness.verifier.name} (${witness.url}): ${error.message}`);
        }
        witness.problem = error.message;
      })
      .finally(() => {
        witness.busy = undefined;
      });
    return witness.busy;
  }

  const ask = async () => void (await Promise.all(witnesses.map(turn)));

  return {
    start() {
      if (witnesses.length > 0) timer ??= setInterval(() => void ask(), foreignIntervalMs);
    },
    async stop() {
      clearInterval(timer);
      timer = undefined;
      const asked = Promise.all(witnesses.map((witness) => witness.busy));
      // A witness that hangs must not hold up the stop.
      await Promise.race([asked, new Promise((resolve) => setTimeout(resolve, 500).unref())]);
    },
    ask,
    status: () =>
      witnesses.map(({ url, verifier, cosignedSize, cosignatures, problem }) => ({
        name: verifier.name,
        url,
        cosignedSize,
        cosignatures,
        problem,
      })),
  };
}

/** The witness's own lines of its answer; others are ignored, as C2SP tlog-witness has it. */
function cosignaturesIn(body: Uint8Array, note: string, verifier: NoteVerifier): readonly NoteSignature[] {
  const offered = parseSignatureLines(new TextDecoder('utf-8', { fatal: true }).decode(body));
  const verdict = judgeNote({ text: parseNote(note).text, signatures: offered }, [verifier]);
  if (verdict.kind !== 'verified') throw new Error('its cosignature does not verify');
  return verdict.verified;
}

function firstLine(body: Uint8Array): string {
  const [line = ''] = new TextDecoder().decode(body.subarray(0, 200)).split('\n', 1);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what a stranger writes goes into a log
  return line.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}

/** The foreign logs' keys by origin, for the witness. */
export function foreignLogs(settings: WitnessingSettings): ReadonlyMap<string, readonly NoteVerifier[]> {
  const logs = new Map<string, NoteVerifier[]>();
  for (const { vkey, origin = vkey.name } of settings.foreignLog) {
    logs.set(origin, [...(logs.get(origin) ?? []), createNoteVerifier(vkey)]);
  }
  return logs;
}

/**
 * What is wrong with the foreign parties beside the consortium's own, or undefined: a member's log or witness
 * under another name would count twice, or be cosigned by rules that are not its own.
 */
export function foreignFault(
  settings: WitnessingSettings,
  parties: readonly {
    readonly origin: string;
    readonly logKeys: readonly { readonly key: Uint8Array }[];
    readonly witnessKeys: readonly { readonly name: string; readonly key: Uint8Array }[];
  }[],
): string | undefined {
  const keys = new Set(
    parties.flatMap((party) => [...party.logKeys, ...party.witnessKeys].map(({ key }) => key.join(','))),
  );
  const names = new Set(
    parties.flatMap((party) => [party.origin, ...party.witnessKeys.map(({ name }) => name)]),
  );
  for (const { vkey } of [...settings.foreignWitness, ...settings.foreignLog]) {
    if (keys.has(vkey.key.join(',')) || names.has(vkey.name)) {
      return `${formatVkey(vkey)} is of a member of the consortium, not from outside: take it out of [witnessing]`;
    }
  }
  const log = settings.foreignLog.find(({ origin }) => origin !== undefined && names.has(origin));
  return log && `the origin ${log.origin} is of a member of the consortium, not from outside`;
}
