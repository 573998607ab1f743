/**
 * The book of training: a `training` entry in the log for every update that was charged, and what opens it in the
 * journal's section `training`. An update's record is durable together with its charge, before anything of it
 * leaves; the entry follows, and where a crash has come between, the next start makes it.
 *
 *   update/<n>   [body, set salt, seed salt, seed, set root, charge | null, entered]
 *   opening/<n>  [body, entered]
 *   entry/<kind>/<n>  the signed entry, to show with an opening
 *   paid/<update>/<part>  the part was opened, and its charge is with enough others
 *   set/<root>   the eligible episodes; one record for all updates that had the same
 *   seed         [job, seed] of the update that was begun last and has not been charged
 */
import { randomBytes } from '#random';
import { toHex } from '../../core/encoding/base64.ts';
import { type CborValue, decodeCbor, decodeError, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, list } from '../../core/encoding/fields.ts';
import type { Journal } from '../../state/journal/journal.ts';
import { ordered, unordered } from '../../state/journal/keys.ts';
import type { Write } from '../../state/journal/store.ts';
import { type Charge, chargeDigest, decodeCharge, encodeCharge } from '../../state/ledger/charge.ts';
import {
  commit,
  decodeIdentity,
  type EpisodeIdentity,
  type Evidence,
  encodeEvidence,
  encodeIdentity,
  evidenceDigest,
  type Opening,
  openEvidence,
  type Part,
  SALT_BYTES,
  setRoot,
  type UpdateEvidence,
} from '../../state/ledger/evidence.ts';
import type { Recorder } from '../../state/provenance/recorder.ts';

/** What is known of an update before it is charged. */
export type UpdateFacts = Omit<UpdateEvidence, 'form' | 'set' | 'seed' | 'charge'> & {
  readonly episodes: readonly EpisodeIdentity[];
  readonly seed: Uint8Array;
  readonly charge: Charge | undefined;
};

/** Something that is to be entered: `writes` are made durable with its charge, then `durable` is called. */
export interface Prepared {
  readonly writes: readonly Write[];
  durable(): void;
}

export interface UpdateRecord {
  readonly evidence: UpdateEvidence;
  readonly salts: { readonly set: Uint8Array; readonly seed: Uint8Array };
  readonly seed: Uint8Array;
  readonly root: Uint8Array;
  readonly charge: Charge | undefined;
  readonly entered: boolean;
}

export interface EvidenceBook {
  /** The seed for the sampler of `job`: drawn afresh, or the one that this job had before a crash. Durable. */
  seedFor(job: Uint8Array): Promise<Uint8Array>;
  /** The record of an update whose charge (if any) is about to be made. */
  prepareUpdate(facts: UpdateFacts): Prepared;
  prepareOpening(update: UpdateEvidence, part: Part, charge: Charge | undefined): Prepared;
  /** Makes durable what is prepared, where no charge does. */
  store(prepared: Prepared): Promise<void>;
  /** Makes the log's entries of all that is durable and has none yet. */
  settle(): Promise<void>;
  /** The last update of a round, with what opens it. @throws Error when it cannot be read. */
  update(agreement: Uint8Array, round: number): Promise<UpdateRecord | undefined>;
  /** What opens a part of the update. @throws Error when the set is not there. */
  opening(record: UpdateRecord, part: Part): Promise<Opening>;
  /** The part may be shown: what it costs is charged, and with enough others. Durable. */
  release(update: UpdateEvidence, part: Part): Promise<void>;
  /** Whether the part was released before. */
  isReleased(update: UpdateEvidence, part: Part): boolean;
  /** The signed entry of the update. */
  entryOf(update: UpdateEvidence): Promise<Uint8Array | undefined>;
  counts(): { readonly updates: number; readonly openings: number; readonly pending: number };
}

const UPDATE = 'update/';
const OPENING = 'opening/';
const ENTRY = 'entry/';
const PAID = 'paid/';
const SET = 'set/';
const SEED = 'seed';
const MAX_EPISODES = 1_000_000;

/** @throws Error when a record cannot be read. */
export async function openEvidenceBook(
  journal: Pick<Journal, 'section' | 'write'>,
  recorder: Pick<Recorder, 'entry'>,
): Promise<EvidenceBook> {
  const section = journal.section('training');
  /** The key of an update's record, by the digest of its evidence. */
  const known = new Map<string, string>();
  /** The key of the last update of a round. */
  const ofRound = new Map<string, string>();
  const sets = new Set<string>();
  const paid = new Set<string>();
  /** What has no entry yet, by its key: its body, and the record once it has. */
  const pending = new Map<string, { readonly evidence: Evidence; readonly mark: Uint8Array }>();
  const counts = { updates: 0, openings: 0 };
  let next = 0;
  let turn: Promise<unknown> = Promise.resolve();

  for await (const [key, value] of section.entries({ prefix: UPDATE })) {
    const record = decodeUpdateRecord(value);
    know(key, record.evidence, record.entered ? undefined : encodeUpdateRecord({ ...record, entered: true }));
  }
  for await (const [key, value] of section.entries({ prefix: OPENING })) {
    const { evidence, entered } = decodeOpeningRecord(value);
    know(key, evidence, entered ? undefined : encodeOpeningRecord({ evidence, entered: true }));
  }
  for await (const [key] of section.entries({ prefix: SET })) sets.add(key.slice(SET.length));

  for await (const [key] of section.entries({ prefix: PAID })) paid.add(key.slice(PAID.length));

  /** @param mark the record once it is entered, where it is not yet. */
  function know(key: string, evidence: Evidence, mark: Uint8Array | undefined): void {
    next = Math.max(next, unordered(key.slice(key.indexOf('/') + 1)) + 1);
    if (evidence.form === 'update') {
      counts.updates += 1;
      ofRound.set(roundName(evidence.agreement, evidence.round), key);
      known.set(toHex(evidenceDigest(evidence)), key);
    } else {
      counts.openings += 1;
    }
    if (mark) pending.set(key, { evidence, mark });
  }

  function newKey(prefix: string): string {
    const key = prefix + ordered(next);
    next += 1;
    return key;
  }

  async function enterAll(): Promise<void> {
    for (const [key, { evidence, mark }] of [...pending]) {
      const entry = await recorder.entry('training', encodeEvidence(evidence), [section.put(key, mark)]);
      pending.delete(key);
      await journal.write([section.put(ENTRY + key, entry)]);
    }
  }

  return {
    async seedFor(job) {
      const before = await section.get(SEED);
      if (before) {
        const fields = fieldsOf(decodeCbor(before), 2, 'seed of a training');
        if (equalBytes(byteString(fields[0], 'job'), job)) return byteString(fields[1], 'seed', 32);
      }
      const seed = randomBytes(32);
      await journal.write([section.put(SEED, encodeCbor([job, seed]))]);
      return seed;
    },
    prepareUpdate({ episodes, seed, charge, ...facts }) {
      const leaves = episodes.map(encodeIdentity);
      const root = setRoot(leaves);
      const salts = { set: randomBytes(SALT_BYTES), seed: randomBytes(SALT_BYTES) };
      const evidence: UpdateEvidence = {
        ...facts,
        form: 'update',
        set: commit(salts.set, root),
        seed: commit(salts.seed, seed),
        charge: charge && chargeDigest(charge),
      };
      const record = { evidence, salts, seed, root, charge };
      const key = newKey(UPDATE);
      const name = toHex(root);
      const writes = [
        section.put(key, encodeUpdateRecord({ ...record, entered: false })),
        // It has been used: another update must not have the same draws.
        section.del(SEED),
        ...(sets.has(name) ? [] : [section.put(SET + name, encodeCbor(leaves))]),
      ];
      return {
        writes,
        durable() {
          sets.add(name);
          know(key, evidence, encodeUpdateRecord({ ...record, entered: true }));
        },
      };
    },
    prepareOpening(update, part, charge) {
      const { agreement, round } = update;
      const evidence: Evidence = {
        form: 'opening',
        agreement,
        round,
        update: evidenceDigest(update),
        part,
        charge: charge && chargeDigest(charge),
      };
      const key = newKey(OPENING);
      return {
        writes: [section.put(key, encodeOpeningRecord({ evidence, entered: false }))],
        durable: () => know(key, evidence, encodeOpeningRecord({ evidence, entered: true })),
      };
    },
    async store(prepared) {
      await journal.write(prepared.writes);
      prepared.durable();
    },
    settle() {
      const mine = turn.then(enterAll);
      turn = mine.catch(() => undefined);
      return mine;
    },
    async update(agreement, round) {
      const key = ofRound.get(roundName(agreement, round));
      const stored = key === undefined ? undefined : await section.get(key);
      return stored && decodeUpdateRecord(stored);
    },
    async opening({ evidence, salts, seed, root }, part) {
      if (part === 'seed') return { part, salt: salts.seed, seed };
      const stored = await section.get(SET + toHex(root));
      if (!stored) throw new Error(`the journal has no set for round ${evidence.round}`);
      return { part, salt: salts.set, episodes: decodeSet(stored) };
    },
    async release(update, part) {
      const name = openingName(evidenceDigest(update), part);
      await journal.write([section.put(PAID + name, encodeCbor([1]))]);
      paid.add(name);
    },
    isReleased: (update, part) => paid.has(openingName(evidenceDigest(update), part)),
    async entryOf(update) {
      const key = known.get(toHex(evidenceDigest(update)));
      return key === undefined ? undefined : section.get(ENTRY + key);
    },
    counts: () => ({ ...counts, pending: pending.size }),
  };
}

function roundName(agreement: Uint8Array, round: number): string {
  return `${toHex(agreement)}/${round}`;
}

function openingName(update: Uint8Array, part: Part): string {
  return `${toHex(update)}/${part}`;
}

function encodeUpdateRecord({ evidence, salts, seed, root, charge, entered }: UpdateRecord): Uint8Array {
  const paid = charge ? encodeCharge(charge) : null;
  return encodeCbor([encodeEvidence(evidence), salts.set, salts.seed, seed, root, paid, entered]);
}

/**
 * The record of an update, checked: it opens its own commitments.
 * @throws DecodeError when it does not, or is none.
 */
export function decodeUpdateRecord(bytes: Uint8Array): UpdateRecord {
  const what = 'evidence of training';
  const fields = fieldsOf(decodeCbor(bytes), 7, what);
  const evidence = openEvidence(fields[0]!);
  if (evidence.form !== 'update') throw decodeError(`${what}: it is of an opening`);
  const part = (index: number) => byteString(fields[index], what, 32);
  const salts = { set: part(1), seed: part(2) };
  const [seed, root] = [part(3), part(4)];
  if (
    !equalBytes(commit(salts.set, root), evidence.set) ||
    !equalBytes(commit(salts.seed, seed), evidence.seed)
  )
    throw decodeError(`${what}: it does not open the entry`);
  const charge = fields[5] === null ? undefined : decodeCharge(encodeCbor(fields[5]!));
  const paid = charge && chargeDigest(charge);
  if (paid ? !evidence.charge || !equalBytes(paid, evidence.charge) : evidence.charge)
    throw decodeError(`${what}: its charge is another one than the entry names`);
  return { evidence, salts, seed, root, charge, entered: flag(fields[6], what) };
}

interface OpeningRecord {
  readonly evidence: Evidence;
  readonly entered: boolean;
}

function encodeOpeningRecord({ evidence, entered }: OpeningRecord): Uint8Array {
  return encodeCbor([encodeEvidence(evidence), entered]);
}

/** @throws DecodeError when the bytes are no record of an opening. */
export function decodeOpeningRecord(bytes: Uint8Array): OpeningRecord {
  const what = 'evidence of an opening';
  const fields = fieldsOf(decodeCbor(bytes), 2, what);
  const evidence = openEvidence(fields[0]!);
  if (evidence.form !== 'opening') throw decodeError(`${what}: it is of an update`);
  return { evidence, entered: flag(fields[1], what) };
}

/** @throws DecodeError when the bytes are no set. */
export function decodeSet(bytes: Uint8Array): EpisodeIdentity[] {
  const leaves = list(decodeCbor(bytes), MAX_EPISODES, 'eligible set');
  return leaves.map((leaf) => decodeIdentity(byteString(leaf, 'eligible set')));
}

function flag(value: CborValue | undefined, what: string): boolean {
  if (typeof value !== 'boolean') throw decodeError(`${what}: its mark is none`);
  return value;
}
