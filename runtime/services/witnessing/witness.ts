/**
 * The witness (C2SP tlog-witness): cosigns a peer's checkpoint after it has checked that the log only grew,
 * and has stored the new head durably. One request at a time for each log, or a slow one rolls the head back.
 */
import { decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, safeInteger } from '../../core/encoding/fields.ts';
import { type Cosigner, cosign } from '../../core/log/cosignature.ts';
import {
  addSignatures,
  formatNote,
  formatSignatureLines,
  type Note,
  type NoteVerifier,
  parseNote,
} from '../../core/log/note.ts';
import {
  type AddCheckpoint,
  formatConflict,
  judge,
  parseAddCheckpoint,
  SIZE_MEDIA_TYPE,
  type WitnessedHead,
} from '../../core/log/witness.ts';
import type { Journal } from '../../state/journal/journal.ts';
import type { Write } from '../../state/journal/store.ts';

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
  /**
   * The newest checkpoint cosigned for a log, with that log's signature and this witness's: what C2SP tlog-witness
   * lets anybody fetch. Undefined when none was.
   */
  newest(origin: string): Promise<string | undefined>;
  /** The head that is stored of a log, as the log has signed it; nothing is cosigned. */
  held(origin: string): Promise<string | undefined>;
  /** The size last cosigned for each log. */
  heads(): ReadonlyMap<string, number>;
  /** Goes on from heads that others know, where they are larger than its own; `writes` are durable with them. */
  restore(heads: readonly RestoredHead[], writes: readonly Write[]): Promise<void>;
}

/** What others know of a log that this witness may have cosigned. */
export interface RestoredHead extends WitnessedHead {
  /** The checkpoint as its log has signed it. */
  readonly note: string;
}

export interface WitnessOptions {
  readonly journal: Journal;
  readonly cosigner: Cosigner;
  readonly verifiersOf: (origin: string) => readonly NoteVerifier[] | undefined;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** Why nothing is cosigned at all for now, or undefined: what this witness has signed may not be known here. */
  readonly unsure?: () => string | undefined;
  /** Why nothing of a log is cosigned, or undefined. */
  readonly frozen?: (origin: string) => string | undefined;
  /** Told of every checkpoint that its log has signed, refused ones too: two of them may contradict each other. */
  readonly onSigned?: (checkpoint: SignedCheckpoint) => void;
}

/** A checkpoint that its log has signed. */
export interface SignedCheckpoint {
  readonly note: string;
  /** The size that it was found to have grown from; undefined when nothing was found. */
  readonly grownFrom?: number;
}

const COMPLAIN_EVERY_MS = 60_000;

export function createWitness(options: WitnessOptions): Witness {
  const { journal, cosigner, verifiersOf, log, onSigned } = options;
  const section = journal.section('witness');
  const turns = new Map<string, Promise<unknown>>();
  const heads = new Map<string, number>();
  /** The newest checkpoint of each log as it was cosigned since the start. */
  const cosigned = new Map<string, string>();
  const complaints = new Map<string, number>();
  const counts = { cosigned: 0, checked: 0, refused: 0 };

  /** Strangers may ask as often as they like: of an unknown log nothing is said, of a known one once a minute. */
  function complain(origin: string, reason: string): void {
    const now = performance.now();
    if (!verifiersOf(origin) || now - (complaints.get(origin) ?? -Infinity) < COMPLAIN_EVERY_MS) return;
    complaints.set(origin, now);
    log('warn', `refused a checkpoint of ${origin}: ${reason}`);
  }

  async function decide(request: AddCheckpoint): Promise<WitnessResponse> {
    const unsure = options.unsure?.();
    if (unsure !== undefined) {
      counts.refused += 1;
      return { status: 503, body: `nothing is cosigned for now: ${unsure}\n` };
    }
    const { origin } = request.checkpoint;
    const known = verifiersOf(origin) !== undefined;
    const stored = known ? await readHead(origin) : undefined;
    const judgement = judge(request, stored, verifiersOf);
    counts.checked += 1;
    const signed = judgement.kind !== 'refuse' || judgement.signed;
    const note = signedByLog(request.note, verifiersOf(origin) ?? []);
    const frozen = signed ? refuseFrozen(origin) : undefined;
    if (signed && (frozen || judgement.kind !== 'accept')) onSigned?.({ note: formatNote(note) });
    if (frozen) return frozen;
    if (judgement.kind === 'conflict') {
      return { status: 409, body: formatConflict(judgement.size), contentType: SIZE_MEDIA_TYPE };
    }
    if (judgement.kind === 'refuse') {
      counts.refused += 1;
      complain(origin, judgement.reason);
      return { status: judgement.status, body: `${judgement.reason}\n` };
    }
    const { size, root } = judgement.head;
    // Who asks again for the same head costs no write: it is durable already.
    if (stored?.size !== size) {
      // The note is kept with the head: two of them that contradict each other convict the log.
      const bytes = new TextEncoder().encode(formatNote(note));
      await journal.write([section.put(origin, encodeCbor([size, root, bytes]))]);
    }
    heads.set(origin, size);
    onSigned?.({ note: formatNote(note), grownFrom: stored?.size ?? 0 });
    // Evidence may have come while the head was being stored.
    const late = refuseFrozen(origin);
    if (late) return late;
    counts.cosigned += 1;
    const cosignature = cosign(cosigner, request.note.text, Math.floor(Date.now() / 1000));
    cosigned.set(origin, formatNote(addSignatures(note, [cosignature])));
    return { status: 200, body: formatSignatureLines([cosignature]) };
  }

  function refuseFrozen(origin: string): WitnessResponse | undefined {
    const reason = options.frozen?.(origin);
    if (reason === undefined) return undefined;
    counts.refused += 1;
    complain(origin, `frozen: ${reason}`);
    return { status: 403, body: `frozen: ${reason}\n` };
  }

  async function readHead(origin: string): Promise<StoredHead | undefined> {
    const bytes = await section.get(origin);
    if (!bytes) return undefined;
    const fields = fieldsOf(decodeCbor(bytes), 3, 'witnessed head');
    return {
      origin,
      size: safeInteger(fields[0], 'witnessed head: size'),
      root: byteString(fields[1], 'witnessed head: root', 32),
      note: byteString(fields[2], 'witnessed head: note'),
    };
  }

  async function newest(origin: string): Promise<string | undefined> {
    if (!verifiersOf(origin)) return undefined;
    const known = cosigned.get(origin);
    if (known !== undefined) return known;
    const head = await readHead(origin);
    if (!head || cosigned.has(origin) || options.frozen?.(origin)) return cosigned.get(origin);
    // It was cosigned before the last start, and would be once more for anybody who asked.
    const note = parseNote(head.note);
    const cosignature = cosign(cosigner, note.text, Math.floor(Date.now() / 1000));
    const text = formatNote(addSignatures(note, [cosignature]));
    cosigned.set(origin, text);
    return text;
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
    newest,
    async held(origin) {
      const head = verifiersOf(origin) && (await readHead(origin));
      return head && new TextDecoder().decode(head.note);
    },
    counts: () => ({ ...counts }),
    heads: () => heads,
    async restore(given, writes) {
      // Each log's turn is taken: a request that is decided meanwhile must not be overwritten with less.
      const before = given.map(({ origin }) => turns.get(origin));
      const work = Promise.all(before).then(async () => {
        const larger: Write[] = [];
        for (const { origin, size, root, note } of given) {
          if (((await readHead(origin))?.size ?? 0) >= size) continue;
          larger.push(section.put(origin, encodeCbor([size, root, new TextEncoder().encode(note)])));
          heads.set(origin, size);
          cosigned.delete(origin);
        }
        await journal.write([...larger, ...writes]);
      });
      const ended = work.catch(() => undefined);
      for (const { origin } of given) turns.set(origin, ended);
      await work;
    },
  };
}

interface StoredHead extends WitnessedHead {
  readonly note: Uint8Array;
}

/** The note without what strangers may have put under it. */
function signedByLog(note: Note, verifiers: readonly NoteVerifier[]): Note {
  return {
    text: note.text,
    signatures: note.signatures.filter(({ name, keyId }) =>
      verifiers.some((verifier) => verifier.name === name && verifier.keyId === keyId),
    ),
  };
}
