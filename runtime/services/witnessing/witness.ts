/**
 * The witness (C2SP tlog-witness): cosigns a peer's checkpoint after it has checked that the log only grew,
 * and has stored the new head durably. One request at a time for each log, or a slow one rolls the head back.
 */
import { decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, safeInteger } from '../../core/encoding/fields.ts';
import { type Cosigner, cosign } from '../../core/log/cosignature.ts';
import { formatNote, formatSignatureLines, type NoteVerifier } from '../../core/log/note.ts';
import {
  type AddCheckpoint,
  formatConflict,
  judge,
  parseAddCheckpoint,
  SIZE_MEDIA_TYPE,
  type WitnessedHead,
} from '../../core/log/witness.ts';
import type { Journal } from '../../state/journal/journal.ts';

export interface WitnessResponse {
  readonly status: number;
  readonly body: string;
  readonly contentType?: string;
}

export interface Witness {
  /** Answers an add-checkpoint request. */
  addCheckpoint(body: Uint8Array | string): Promise<WitnessResponse>;
  /** Cosignatures given, and checkpoint signatures checked, since the start. */
  counts(): { readonly cosigned: number; readonly checked: number; readonly refused: number };
  /** The size last cosigned for each log. */
  heads(): ReadonlyMap<string, number>;
}

export interface WitnessOptions {
  readonly journal: Journal;
  readonly cosigner: Cosigner;
  readonly verifiersOf: (origin: string) => readonly NoteVerifier[] | undefined;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export function createWitness({ journal, cosigner, verifiersOf, log }: WitnessOptions): Witness {
  const section = journal.section('witness');
  const turns = new Map<string, Promise<unknown>>();
  const heads = new Map<string, number>();
  const counts = { cosigned: 0, checked: 0, refused: 0 };

  async function decide(request: AddCheckpoint): Promise<WitnessResponse> {
    const { origin } = request.checkpoint;
    const known = verifiersOf(origin) !== undefined;
    const stored = known ? await readHead(origin) : undefined;
    const judgement = judge(request, stored, verifiersOf);
    counts.checked += 1;
    if (judgement.kind === 'conflict') {
      return { status: 409, body: formatConflict(judgement.size), contentType: SIZE_MEDIA_TYPE };
    }
    if (judgement.kind === 'refuse') {
      counts.refused += 1;
      log('warn', `refused a checkpoint of ${origin}: ${judgement.reason}`);
      return { status: judgement.status, body: `${judgement.reason}\n` };
    }
    const { size, root } = judgement.head;
    // The note is kept with the head: two of them that contradict each other convict the log.
    const note = new TextEncoder().encode(formatNote(request.note));
    await journal.write([section.put(origin, encodeCbor([size, root, note]))]);
    heads.set(origin, size);
    counts.cosigned += 1;
    const cosignature = cosign(cosigner, request.note.text, Math.floor(Date.now() / 1000));
    return { status: 200, body: formatSignatureLines([cosignature]) };
  }

  async function readHead(origin: string): Promise<WitnessedHead | undefined> {
    const bytes = await section.get(origin);
    if (!bytes) return undefined;
    const fields = fieldsOf(decodeCbor(bytes), 3, 'witnessed head');
    return {
      origin,
      size: safeInteger(fields[0], 'witnessed head: size'),
      root: byteString(fields[1], 'witnessed head: root', 32),
    };
  }

  return {
    addCheckpoint(body) {
      let request: AddCheckpoint;
      try {
        request = parseAddCheckpoint(body);
      } catch (error) {
        counts.refused += 1;
        return Promise.resolve({ status: 400, body: `${(error as Error).message}\n` });
      }
      const { origin } = request.checkpoint;
      // Only known logs get a turn of their own, so that strangers cannot make the map grow.
      if (!verifiersOf(origin)) return decide(request);
      const mine = (turns.get(origin) ?? Promise.resolve()).then(() => decide(request));
      turns.set(
        origin,
        mine.catch(() => undefined),
      );
      return mine;
    },
    counts: () => ({ ...counts }),
    heads: () => heads,
  };
}
