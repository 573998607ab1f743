/** The gateway's own log towards its peers: a signed checkpoint at a fixed cadence, stored, then cosigned by the others. */

import { formatCheckpoint, openCheckpoint } from '../../core/log/checkpoint.ts';
import { type Cosigner, cosign } from '../../core/log/cosignature.ts';
import {
  addSignatures,
  formatNote,
  judgeNote,
  type NoteSigner,
  type NoteVerifier,
  parseNote,
  parseSignatureLines,
  signNote,
} from '../../core/log/note.ts';
import { consistencyProof } from '../../core/log/proof.ts';
import { hashReaderFromTiles } from '../../core/log/tiles.ts';
import { formatAddCheckpoint, parseConflict } from '../../core/log/witness.ts';
import type { Journal } from '../../state/journal/journal.ts';
import { ordered, unordered } from '../../state/journal/keys.ts';
import { cosigningMembers, type LogParty } from './names.ts';

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
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void;
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
  status(): PublisherStatus;
}

interface Published {
  readonly size: number;
  note: string;
  signers: readonly string[];
}

/** How many checkpoints are kept; the newest final one is kept besides. */
const KEEP = 1024;

export function createPublisher(options: PublisherOptions): Publisher {
  const { journal, self, others, report } = options;
  const section = journal.section('checkpoint');
  const witnesses: readonly NoteVerifier[] = [self, ...others].map((party) => party.witness);
  /** The size each peer's witness has cosigned last, as far as known. */
  const knownSizes = new Map<string, number>();
  const complaints = new Map<string, string>();
  const inFlight = new Map<string, Promise<void>>();
  let newest: Published | undefined;
  let finalSize = 0;
  let checkpoints = 0;
  let cosignatures = 0;
  let stored = 0;

  async function sign(): Promise<void> {
    const head = journal.head();
    if (!head || (newest && head.size <= newest.size)) return;
    const text = formatCheckpoint({ origin: self.origin, size: head.size, root: head.root, extensions: [] });
    const own = cosign(options.cosigner, text, Math.floor(Date.now() / 1000));
    const note = formatNote(addSignatures(signNote(text, [options.log]), [own]));
    // Stored before anybody sees it: after a power cut the log must go on from here, not from earlier.
    await store(head.size, note);
    checkpoints += 1;
    newest = { size: head.size, note, signers: [own.name] };
    settle(newest);
  }

  async function store(size: number, note: string): Promise<void> {
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
    await journal.write(writes);
  }

  function settle({ size, signers }: Published): void {
    const members = cosigningMembers([self, ...others], signers);
    if (members.size >= options.quorum) finalSize = Math.max(finalSize, size);
  }

  function askAll(): void {
    for (const party of others) {
      if (!newest || newest.signers.includes(party.witness.name) || !options.connected(party.gateway))
        continue;
      if (inFlight.has(party.gateway)) continue;
      const request = askOne(party, newest)
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
    const verdict = judgeNote({ text: note.text, signatures: offered }, [party.witness]);
    if (verdict.kind !== 'verified') throw new Error('its cosignature does not verify');
    target.note = formatNote(addSignatures(note, verdict.verified));
    target.signers = [...target.signers, party.witness.name];
    cosignatures += 1;
    settle(target);
    await store(target.size, target.note);
  }

  return {
    async open() {
      for await (const [key, value] of section.entries()) {
        stored += 1;
        const opened = openCheckpoint(value, self.log, witnesses);
        const signers = opened.verified.map((line) => line.name).filter((name) => name !== self.log.name);
        newest = { size: unordered(key), note: new TextDecoder().decode(value), signers };
        settle(newest);
      }
      const head = journal.head();
      if (newest && (head?.size ?? 0) < newest.size) {
        throw new Error(
          `the journal ends at block ${head?.size ?? 0}, but a checkpoint of size ${newest.size} was signed: its newest blocks are lost; restore the directory from a newer copy`,
        );
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
    status: () => ({
      size: journal.head()?.size ?? 0,
      published: newest?.size ?? 0,
      finalSize,
      cosigners: [...cosigningMembers([self, ...others], newest?.signers ?? [])],
      quorum: options.quorum,
      checkpoints,
      cosignatures,
    }),
  };
}
