/**
 * What this gateway has seen each log sign. All that is linked belongs to one growing tree; a signed note that
 * is not linked yet waits for the nodes that link it or convict its log. While nobody gives them, the log is
 * frozen here: that is withholding, which convicts nobody.
 */
import { equalBytes } from '../../core/encoding/cbor.ts';
import { parseCheckpoint } from '../../core/log/checkpoint.ts';
import { createCheckpointVerifier } from '../../core/log/cosignature.ts';
import { createEvidence, formatEvidence } from '../../core/log/evidence.ts';
import {
  addSignatures,
  formatNote,
  judgeNote,
  type Note,
  type NoteSignature,
  type NoteVerifier,
  parseNote,
} from '../../core/log/note.ts';
import { ED25519_NOTE, type Vkey } from '../../core/log/vkey.ts';
import type { Journal } from '../../state/journal/journal.ts';
import { ordered } from '../../state/journal/keys.ts';
import type { EvidenceBook } from './evidence.ts';
import type { LogParty } from './names.ts';
import { type Comparison, compareTrees, type Fetch, type Head } from './tree-source.ts';

export interface OriginsOptions {
  readonly journal: Pick<Journal, 'section' | 'write'>;
  readonly parties: readonly LogParty[];
  readonly evidence: EvidenceBook;
  /** Where nodes of a log's tree may be had, the nearest first; `from` is the gateway that sent the note. */
  readonly sources: (origin: string, from: string | undefined) => readonly Fetch[];
  /** After so many attempts without the nodes the log is withholding. */
  readonly withheldAfter?: number;
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface OriginStatus {
  readonly origin: string;
  /** The largest size that is linked. */
  readonly size: number;
  /** Signed checkpoints that nobody has given the nodes for. */
  readonly unlinked: readonly number[];
  readonly frozen?: string;
}

export interface Origins {
  /** Reads the notes that were not linked when the gateway stopped. */
  open(): Promise<void>;
  /**
   * Takes a signed note in. Two of one size with different roots become evidence before this resolves; what
   * needs nodes waits for `settle`. @throws Error when it is no note of a known log, or a signature is wrong.
   */
  examine(message: Uint8Array | string, from?: string): Promise<'new' | 'known'>;
  /** As examine, for what this gateway has itself found to have grown from its checkpoint of `grownFrom`. */
  linked(message: Uint8Array | string, grownFrom: number | undefined): Promise<void>;
  /** Tries to link what is not. */
  settle(): Promise<void>;
  /** As settle; what nobody links by then is withheld at once and durably: for who does not know what it cosigned. */
  settleForGood(): Promise<void>;
  /** Why this gateway cosigns nothing of a log. */
  frozen(origin: string): string | undefined;
  /** What to tell others of a log: its newest checkpoint, and those that nobody can link or that contradict. */
  notes(origin: string): readonly string[];
  status(): readonly OriginStatus[];
}

interface Seen extends Head {
  note: Note;
}

interface Unlinked extends Seen {
  readonly from: string | undefined;
  attempts: number;
  stored: boolean;
}

interface Contradiction {
  readonly a: Seen;
  readonly b: Seen;
  readonly lines: readonly Uint8Array[];
}

interface State {
  /** By size: a bounded number of the largest. */
  readonly linked: Map<number, Seen>;
  readonly unlinked: Map<number, Unlinked>;
  readonly contradictions: Contradiction[];
}

const MAX_LINKED = 64;
const MAX_UNLINKED = 16;
const MAX_CONTRADICTIONS = 4;
/** Comparisons of one log in one go. */
const MAX_COMPARISONS = 4;
const WITHHELD_AFTER = 3;

export function createOrigins(options: OriginsOptions): Origins {
  const { journal, parties, evidence, report, withheldAfter = WITHHELD_AFTER } = options;
  const section = journal.section('origin');
  const states = new Map<string, State>(
    parties.map(({ origin }) => [origin, { linked: new Map(), unlinked: new Map(), contradictions: [] }]),
  );
  const keys = createKeys(parties);
  let settling: Promise<void> | undefined;

  /** What a note says, and the signatures in it that are somebody's. */
  function open(message: Uint8Array | string): Seen & { readonly origin: string } {
    const { text, signatures } = parseNote(message);
    const { origin, size, root } = parseCheckpoint(text);
    const party = parties.find((candidate) => candidate.origin === origin);
    if (!party) throw new Error(`the log ${origin} is none of the agreement's`);
    const named = signatures.filter((line) => keys.find(line));
    const verdict = judgeNote({ text, signatures: named }, keys.verifiers(named));
    if (verdict.kind === 'forged') throw forged(`the signature of ${verdict.name} is wrong`);
    const verified = verdict.kind === 'verified' ? verdict.verified : [];
    const isLogs = (line: NoteSignature) =>
      party.logs.some(({ name, keyId }) => name === line.name && keyId === line.keyId);
    if (!verified.some(isLogs)) throw new Error(`the log ${origin} has not signed the checkpoint`);
    return { origin, size, root, note: { text, signatures: verified } };
  }

  async function take(
    message: Uint8Array | string,
    from: string | undefined,
    grownFrom?: number,
  ): Promise<'new' | 'known'> {
    const { origin, ...seen } = open(message);
    const state = states.get(origin)!;
    // From the empty tree everything grows, so that says nothing about what is linked.
    const grown = grownFrom !== undefined && grownFrom > 0 && state.linked.has(grownFrom);
    const same = sameSize(state, seen.size).find(({ root }) => equalBytes(root, seen.root));
    if (same) {
      if (grown && state.unlinked.get(seen.size) === same) await settled(origin, same, 'linked');
      const more = merge(same, seen.note.signatures);
      if (more) for (const pair of state.contradictions) if (isIn(pair, same)) await accuse(origin, pair);
      return 'known';
    }
    for (const other of sameSize(state, seen.size))
      await contradict(origin, { a: other, b: seen, lines: [] });
    if (state.linked.has(seen.size) || state.unlinked.has(seen.size)) return 'new';
    if (state.linked.size === 0 || grown) link(state, seen);
    else if (state.unlinked.size < MAX_UNLINKED)
      state.unlinked.set(seen.size, { ...seen, from, attempts: 0, stored: false });
    else throw new Error(`${origin} has signed more checkpoints than can be told how they belong together`);
    return 'new';
  }

  async function contradict(origin: string, pair: Contradiction): Promise<void> {
    const state = states.get(origin)!;
    if (state.contradictions.length < MAX_CONTRADICTIONS) state.contradictions.push(pair);
    await accuse(origin, pair);
  }

  /** Evidence against everybody who signed both: the log, and witnesses. */
  async function accuse(origin: string, { a, b, lines }: Contradiction): Promise<void> {
    const both = a.note.signatures.flatMap((line) => {
      const key = b.note.signatures.some((other) => isSameKey(line, other)) ? keys.find(line) : undefined;
      return key ? [key] : [];
    });
    if (!both.some(({ type }) => type === ED25519_NOTE))
      report(
        'error',
        `${origin} has signed contradicting checkpoints of ${a.size} and ${b.size} leaves, with two keys`,
      );
    for (const vkey of both) {
      try {
        const proof = createEvidence(vkey, [formatNote(a.note), formatNote(b.note)], lines);
        await evidence.add(formatEvidence(proof));
      } catch (error) {
        report('error', `evidence against ${vkey.name}: ${(error as Error).message}`);
      }
    }
  }

  async function settleOne(origin: string, state: State): Promise<void> {
    const waiting = [...state.unlinked.values()].sort((a, b) => a.attempts - b.attempts);
    for (const entry of waiting.slice(0, MAX_COMPARISONS)) {
      const reference = nearest(state, entry);
      const comparison: Comparison | undefined = reference
        ? await compareAnywhere(origin, entry, reference)
        : { kind: 'consistent' };
      if (!comparison) continue;
      // It may have been settled meanwhile by what the witness found.
      if (state.unlinked.get(entry.size) !== entry) continue;
      if (comparison.kind === 'unknown') {
        await withheld(origin, entry, comparison.reason);
        continue;
      }
      if (comparison.kind === 'contradiction' && reference)
        await contradict(origin, { a: reference, b: entry, lines: comparison.lines });
      await settled(origin, entry, comparison.kind === 'consistent' ? 'linked' : 'torn');
    }
  }

  async function settled(origin: string, seen: Seen, how: 'linked' | 'torn'): Promise<void> {
    const state = states.get(origin)!;
    const entry = state.unlinked.get(seen.size);
    state.unlinked.delete(seen.size);
    if (how === 'linked') link(state, seen);
    if (!entry) return;
    if (entry.stored) await journal.write([section.del(keyOf(origin, seen.size))]);
    if (entry.attempts >= withheldAfter) report('info', `${origin} has shown what it withheld`);
  }

  /** Undefined when there is nobody to ask: who is alone cannot say that something is withheld. */
  async function compareAnywhere(
    origin: string,
    entry: Unlinked,
    reference: Seen,
  ): Promise<Comparison | undefined> {
    let last: Comparison | undefined;
    for (const fetch of options.sources(origin, entry.from)) {
      last = await compareTrees(entry, reference, fetch);
      if (last.kind !== 'unknown') return last;
    }
    return last;
  }

  async function withheld(origin: string, entry: Unlinked, reason: string): Promise<void> {
    entry.attempts += 1;
    if (entry.attempts === withheldAfter)
      report('warn', `nobody gives the nodes of ${origin} at ${entry.size} leaves: ${reason}`);
    if (entry.stored) return;
    await journal.write([
      section.put(keyOf(origin, entry.size), new TextEncoder().encode(formatNote(entry.note))),
    ]);
    entry.stored = true;
  }

  function frozen(origin: string): string | undefined {
    const proven = evidence.frozen(origin);
    if (proven !== undefined) return `equivocation proven: ${proven}`;
    const state = states.get(origin);
    if (state?.contradictions.length) return 'it has signed checkpoints that contradict each other';
    const waiting = [...(state?.unlinked.values() ?? [])].find(({ attempts }) => attempts >= withheldAfter);
    return waiting && `what it signed at ${waiting.size} leaves is withheld`;
  }

  return {
    async open() {
      for await (const [key, bytes] of section.entries()) {
        try {
          const { origin, ...seen } = open(bytes);
          states.get(origin)!.unlinked.set(seen.size, {
            ...seen,
            from: undefined,
            attempts: withheldAfter,
            stored: true,
          });
        } catch (error) {
          report('warn', `a checkpoint kept as ${key} is passed over: ${(error as Error).message}`);
        }
      }
    },
    examine: async (message, from) => take(message, from),
    async linked(message, grownFrom) {
      await take(message, undefined, grownFrom);
    },
    settle() {
      settling ??= Promise.all([...states].map(([origin, state]) => settleOne(origin, state)))
        .then(() => undefined)
        .finally(() => {
          settling = undefined;
        });
      return settling;
    },
    async settleForGood() {
      await settling;
      for (const [origin, state] of states) {
        for (let before = Number.POSITIVE_INFINITY; state.unlinked.size < before; ) {
          before = state.unlinked.size;
          await settleOne(origin, state);
        }
        for (const entry of state.unlinked.values()) {
          entry.attempts = Math.max(entry.attempts, withheldAfter - 1);
          await withheld(
            origin,
            entry,
            'peers have cosigned it, and nobody shows that it belongs to the rest',
          );
        }
      }
    },
    frozen,
    notes(origin) {
      const state = states.get(origin);
      if (!state) return [];
      const newest = [...state.linked.values()].sort((a, b) => b.size - a.size).slice(0, 1);
      const waiting = [...state.unlinked.values()].slice(0, 2);
      const torn = state.contradictions.slice(0, 2).flatMap(({ a, b }) => [a, b]);
      return [...new Set([...newest, ...waiting, ...torn].map(({ note }) => formatNote(note)))];
    },
    status: () =>
      [...states].map(([origin, state]) => {
        const why = frozen(origin);
        return {
          origin,
          size: Math.max(0, ...state.linked.keys()),
          unlinked: [...state.unlinked.keys()],
          ...(why === undefined ? {} : { frozen: why }),
        };
      }),
  };
}

/** A note under which somebody's name stands over a signature that is not theirs. */
export interface ForgedNote extends Error {
  readonly name: 'ForgedNote';
}

function forged(message: string): ForgedNote {
  return Object.assign(new Error(message), { name: 'ForgedNote' as const });
}

function sameSize(state: State, size: number): readonly Seen[] {
  const torn = state.contradictions.flatMap(({ a, b }) => [a, b]).filter((seen) => seen.size === size);
  const others = [state.linked.get(size), state.unlinked.get(size)];
  return [...new Set([...others.filter((seen) => seen !== undefined), ...torn])];
}

function link(state: State, seen: Seen): void {
  // The same object: what is added to its signatures later may be what convicts a witness.
  state.linked.set(seen.size, seen);
  while (state.linked.size > MAX_LINKED) state.linked.delete(Math.min(...state.linked.keys()));
}

/** What to compare with: any larger tree of the chain tells as much as the nearest, which is read soonest. */
function nearest({ linked }: State, { size }: Head): Seen | undefined {
  const sizes = [...linked.keys()].sort((a, b) => a - b);
  return linked.get(sizes.find((other) => other > size) ?? sizes.at(-1) ?? -1);
}

/** Adds signatures of keys that have not signed; whether there was one. */
function merge(seen: Seen, signatures: readonly NoteSignature[]): boolean {
  const fresh = signatures.filter((line) => !seen.note.signatures.some((known) => isSameKey(known, line)));
  if (fresh.length > 0) seen.note = addSignatures(seen.note, fresh);
  return fresh.length > 0;
}

function isSameKey(a: NoteSignature, b: NoteSignature): boolean {
  return a.name === b.name && a.keyId === b.keyId;
}

function isIn({ a, b }: Contradiction, seen: Seen): boolean {
  return a === seen || b === seen;
}

function keyOf(origin: string, size: number): string {
  return `${origin}/${ordered(size)}`;
}

/** All keys of the agreement's gateways, logs' and witnesses', as they are needed. */
function createKeys(parties: readonly LogParty[]) {
  const verifiers = new Map<Vkey, NoteVerifier>();
  function find({ name, keyId }: NoteSignature): Vkey | undefined {
    for (const party of parties) {
      if (!name.startsWith(party.origin)) continue;
      const found = [...party.logKeys, ...party.witnessKeys].find(
        (vkey) => vkey.name === name && vkey.keyId === keyId,
      );
      if (found) return found;
    }
    return undefined;
  }
  return {
    find,
    verifiers(lines: readonly NoteSignature[]): readonly NoteVerifier[] {
      const found = new Set(lines.flatMap((line) => find(line) ?? []));
      return [...found].map((vkey) => {
        const made = verifiers.get(vkey) ?? createCheckpointVerifier(vkey);
        verifiers.set(vkey, made);
        return made;
      });
    },
  };
}
