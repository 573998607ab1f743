/** The gateway's own log towards its peers: a signed checkpoint at a fixed cadence, stored, then cosigned by the others. */

import { formatCheckpoint } from '../../core/log/checkpoint.ts';
import { type Cosigner, cosign } from '../../core/log/cosignature.ts';
import {
  addSignatures,
  formatNote,
  judgeNote,
  type NoteSignature,
  type NoteSigner,
  parseNote,
  parseSignatureLines,
  signNote,
} from '../../core/log/note.ts';
import { consistencyProof } from '../../core/log/proof.ts';
import { hashReaderFromTiles } from '../../core/log/tiles.ts';
import { formatAddCheckpoint, parseConflict } from '../../core/log/witness.ts';
import type { Journal } from '../../state/journal/journal.ts';
import { ordered, unordered } from '../../state/journal/keys.ts';
import { cosigningMembers, type LogParty, openStored } from './names.ts';
import { createShown } from './shown.ts';

/** Asks a peer's witness; the answer is that of C2SP tlog-witness. */
export type AskWitness = (
  gateway: string,
  body: string,
) => Promise<{ readonly status: number; readonly body: Uint8Array }>;

export interface PublisherOptions {
  readonly journal: Journal;
  readonly self: LogParty;
  readonly others: readonly LogParty[];
  readonly log: NoteSigner;
  readonly cosigner: Cosigner;
  readonly quorum: number;
  readonly ask: AskWitness;
  readonly connected: (gateway: string) => boolean;
  /** Whether a member's cosignatures count for nothing. */
  readonly isDisgraced?: (member: string) => boolean;
  /** Why no new checkpoint may be signed, or undefined. */
  readonly heldBack?: () => string | undefined;
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** How often witnesses from outside are asked, milliseconds; 0 or absent when there are none. */
  readonly foreignIntervalMs?: number;
  /** The log grows in steps of so many blocks, at every checkpoint, whatever was recorded; 0 or absent: as it comes. */
  readonly padding?: number;
}

/** A checkpoint of this log, for witnesses from outside the consortium. */
export interface ForeignTarget {
  readonly size: number;
  /** With the log's own signature alone. */
  readonly note: string;
  /** Adds cosignatures that have been verified; they count for no member. Resolves when they are durable. */
  add(cosignatures: readonly NoteSignature[]): Promise<void>;
}

export interface PublisherStatus {
  readonly size: number;
  readonly published: number;
  readonly finalSize: number;
  /** Members that have cosigned the newest checkpoint, this one's own among them. */
  readonly cosigners: readonly string[];
  readonly quorum: number;
  readonly checkpoints: number;
  readonly cosignatures: number;
}

export interface Publisher {
  open(): Promise<void>;
  /**
   * Signs a checkpoint when the log has grown, and asks for the cosignatures that are missing. Resolves when the
   * checkpoint is durable; a slow peer's answer is not waited for, or it would hold up the next checkpoint.
   */
  publish(): Promise<void>;
  /** Resolves when the requests on their way have been answered. */
  asked(): Promise<void>;
  /** The newest checkpoint with what cosignatures it has, as a note. */
  newest(): string | undefined;
  /**
   * The newest checkpoint that another gateway has cosigned. Peers are told of no newer one: what they have only
   * heard of they would not tell a directory that is restored from a copy, which would then sign another story.
   */
  cosigned(): string | undefined;
  /** The checkpoint that the public is shown: the newest that is final, or the newest of all when that one is old. */
  shown(): string | undefined;
  /** The newest checkpoint, for witnesses from outside. */
  foreignTarget(): ForeignTarget | undefined;
  status(): PublisherStatus;
}

interface Published {
  readonly size: number;
  note: string;
  signers: readonly string[];
  /** A witness from outside has cosigned it too. */
  foreign?: boolean;
}

/** How long one checkpoint is pursued before a newer one takes its place. */
const PURSUE_MS = 30_000;
/** How many checkpoints are kept; the newest final one is kept besides. */
const KEEP = 1024;

export function createPublisher(options: PublisherOptions): Publisher {
  const { journal, self, others, report } = options;
  const section = journal.section('checkpoint');
  /** The size each peer's witness has cosigned last, as far as known. */
  const knownSizes = new Map<string, number>();
  const complaints = new Map<string, string>();
  const inFlight = new Map<string, Promise<void>>();
  let newest: Published | undefined;
  let cosigned: Published | undefined;
  let finalSize = 0;
  let checkpoints = 0;
  let cosignatures = 0;
  let stored = 0;
  let heldBack: string | undefined;
  let pursued: Published | undefined;
  let pursuedSince = 0;
  /** Gateways that have been asked about the pursued checkpoint. */
  const asked = new Set<string>();
  const shown = createShown<Published>({ foreignIntervalMs: options.foreignIntervalMs ?? 0 });

  async function sign(): Promise<void> {
    const reason = options.heldBack?.();
    if (reason !== undefined && reason !== heldBack) report('warn', `no new checkpoint is signed: ${reason}`);
    heldBack = reason;
    if (reason !== undefined) return;
    if (options.padding) await journal.padTo(options.padding, newest?.size ?? 0);
    const head = journal.head();
    if (!head || (newest && head.size <= newest.size)) return;
    const text = formatCheckpoint({ origin: self.origin, size: head.size, root: head.root, extensions: [] });
    const own = cosign(options.cosigner, text, Math.floor(Date.now() / 1000));
    const note = formatNote(addSignatures(signNote(text, [options.log]), [own]));
    // Stored before anybody sees it: after a power cut the log must go on from here, not from earlier.
    await store(head.size, note, true);
    checkpoints += 1;
    newest = { size: head.size, note, signers: [own.name] };
    settle(newest);
  }

  /** A cosignature that is lost is asked for again, so it can wait for the next commit. */
  async function store(size: number, note: string, urgent = false): Promise<void> {
    const writes = [section.put(ordered(size), new TextEncoder().encode(note))];
    if (!newest || newest.size < size) stored += 1;
    if (stored > KEEP) {
      // One more than there are too many, since the newest final one among them stays.
      for await (const [key] of section.entries({ limit: stored - KEEP + 1 })) {
        if (stored <= KEEP) break;
        if (unordered(key) === finalSize) continue;
        writes.push(section.del(key));
        stored -= 1;
      }
    }
    await journal.write(writes, { urgent });
  }

  function settle(published: Published): void {
    const { size, signers, foreign = false } = published;
    const byOthers = others.some(({ witness }) => signers.includes(witness.name));
    if (byOthers && size >= (cosigned?.size ?? 0)) cosigned = published;
    const final = counted(signers).length >= options.quorum;
    if (final) finalSize = Math.max(finalSize, size);
    shown.offer(published, { final, foreign });
  }

  function counted(signers: readonly string[]): readonly string[] {
    const members = [...cosigningMembers([self, ...others], signers)];
    return members.filter((member) => !options.isDisgraced?.(member));
  }

  /**
   * The checkpoint that cosignatures are asked for. It stays until it is final or all have answered: peers that
   * answer slowly would otherwise each cosign another one, and none would ever have enough.
   */
  function pursue(): Published | undefined {
    const now = performance.now();
    const answered =
      inFlight.size === 0 && others.every(({ gateway }) => asked.has(gateway) || !options.connected(gateway));
    const settled = !pursued || pursued.size <= finalSize || answered || now - pursuedSince > PURSUE_MS;
    if (settled && newest && newest !== pursued) {
      pursued = newest;
      asked.clear();
      pursuedSince = now;
    }
    return pursued;
  }

  function askAll(): void {
    const target = pursue();
    if (!target) return;
    for (const party of others) {
      if (target.signers.includes(party.witness.name) || !options.connected(party.gateway)) continue;
      // It has cosigned a later one meanwhile, and will not go back.
      if (inFlight.has(party.gateway) || (knownSizes.get(party.gateway) ?? 0) > target.size) continue;
      asked.add(party.gateway);
      const request = askOne(party, target)
        .then(() => void complaints.delete(party.gateway))
        .catch((error: Error) => complain(party, error.message))
        .finally(() => inFlight.delete(party.gateway));
      inFlight.set(party.gateway, request);
    }
  }

  function complain(party: LogParty, why: string): void {
    if (complaints.get(party.gateway) === why) return;
    complaints.set(party.gateway, why);
    report('warn', `no cosignature of ${party.gateway}: ${why}`);
  }

  async function askOne(party: LogParty, target: Published): Promise<void> {
    for (let attempt = 0; attempt < 2; attempt++) {
      const known = knownSizes.get(party.gateway) ?? 0;
      const reader = hashReaderFromTiles(target.size, (level, index, width) =>
        journal.tile(level, index, width),
      );
      const proof =
        known > 0 && known < target.size ? await consistencyProof(known, target.size, reader) : [];
      const { status, body } = await options.ask(
        party.gateway,
        formatAddCheckpoint(known, proof, ownNote(target.note)),
      );
      if (status === 200) {
        knownSizes.set(party.gateway, target.size);
        await addCosignature(target, party, new TextDecoder().decode(body));
        return;
      }
      if (status !== 409) throw new Error(`status ${status}: ${new TextDecoder().decode(body).trim()}`);
      const size = parseConflict(body);
      if (size > target.size) {
        throw new Error(
          `it has cosigned size ${size}, this log has ${target.size}: this directory is older than what was published`,
        );
      }
      knownSizes.set(party.gateway, size);
    }
    throw new Error('its stored size changes under the request');
  }

  /** What is sent to witnesses: the checkpoint with the log's own signature alone. */
  function ownNote(note: string): string {
    const parsed = parseNote(note);
    return formatNote({
      text: parsed.text,
      signatures: parsed.signatures.filter((line) => line.name === self.log.name),
    });
  }

  /** The answer may be about a checkpoint that is not the newest any more; it makes that one final all the same. */
  async function addCosignature(target: Published, party: LogParty, lines: string): Promise<void> {
    const note = parseNote(target.note);
    const offered = parseSignatureLines(lines).filter((line) => line.name === party.witness.name);
    const verdict = judgeNote({ text: note.text, signatures: offered }, party.witnesses);
    if (verdict.kind !== 'verified') throw new Error('its cosignature does not verify');
    target.note = formatNote(addSignatures(note, verdict.verified));
    target.signers = [...target.signers, party.witness.name];
    cosignatures += 1;
    settle(target);
    await store(target.size, target.note);
  }

  async function addForeign(target: Published, cosignatures: readonly NoteSignature[]): Promise<void> {
    target.note = formatNote(addSignatures(parseNote(target.note), cosignatures));
    target.foreign = true;
    settle(target);
    await store(target.size, target.note);
  }

  return {
    async open() {
      for await (const [key, value] of section.entries()) {
        stored += 1;
        const opened = openStored(value, self, [self, ...others]);
        const signers = opened.verified.map((line) => line.name).filter((name) => name !== self.log.name);
        newest = { size: unordered(key), note: new TextDecoder().decode(value), signers };
        // Who is asked with another size refuses, and has then seen a checkpoint that nobody has cosigned: were this
        // directory lost at that moment, no mirror would have what is under it.
        for (const { gateway, witness } of others)
          if (signers.includes(witness.name)) knownSizes.set(gateway, newest.size);
        settle(newest);
      }
      const head = journal.head();
      if (newest && (head?.size ?? 0) < newest.size) {
        const why = `the journal ends at block ${head?.size ?? 0}, but a checkpoint of size ${newest.size} was signed`;
        throw Object.assign(new Error(why), { name: 'Behind' });
      }
    },
    async publish() {
      await sign();
      askAll();
    },
    async asked() {
      await Promise.all(inFlight.values());
    },
    newest: () => newest?.note,
    cosigned: () => cosigned?.note,
    shown: () => shown.pick()?.note,
    foreignTarget() {
      const target = newest;
      return (
        target && { size: target.size, note: ownNote(target.note), add: (lines) => addForeign(target, lines) }
      );
    },
    status: () => ({
      size: journal.head()?.size ?? 0,
      published: newest?.size ?? 0,
      finalSize,
      cosigners: counted(newest?.signers ?? []),
      quorum: options.quorum,
      checkpoints,
      cosignatures,
    }),
  };
}
