/**
 * What the gateways tell each other about what logs have signed: checkpoints, so that two views of one log meet
 * somewhere, and the evidence that follows when they do. Nothing is believed for having been said by a peer.
 */
import { sha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import { decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { byteString, list } from '../../core/encoding/fields.ts';
import { MAX_EVIDENCE_BYTES } from '../../core/log/evidence.ts';
import type { Conviction, EvidenceBook } from './evidence.ts';
import { answerText } from './mirror.ts';
import type { ForgedNote, Origins } from './origins.ts';
import type { Answer } from './witnessing.ts';

/** A list of signed checkpoints; answered with another. */
export const GOSSIP = '/gossip';
/** An evidence file. */
export const EVIDENCE = '/evidence';
/** Asks for the newest checkpoint that a gateway has cosigned of the log whose origin is the body. */
export const WITNESSED = '/witnessed';

/** Asks for what a gateway has seen the log whose origin is the body sign, cosigned or not: a list of notes. */
export const SEEN = '/seen';

/** Sends a request to a peer; rejects when it is not answered in time. */
export type AskPeer = (
  peer: string,
  path: string,
  body: Uint8Array,
) => Promise<{ readonly status: number; readonly body: Uint8Array }>;

export interface GossipOptions {
  /** Names of the other gateways. */
  readonly peers: readonly string[];
  readonly ask: AskPeer;
  readonly connected: (peer: string) => boolean;
  /** What this gateway has to tell: signed checkpoints of all logs. */
  readonly notes: () => readonly string[];
  readonly origins: Pick<Origins, 'examine' | 'settle'>;
  readonly evidence: EvidenceBook;
  /** Messages of one peer that come sooner after each other, in milliseconds, are not read. */
  readonly leastGapMs: number;
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void;
}

export interface Gossip {
  /** Tells some connected peers and hears them, tries to link what was heard, and relays evidence to all. */
  round(): Promise<void>;
  /** Tells connected peers the evidence that they have not been told. */
  relay(): Promise<void>;
  /** Answers a peer's request, or undefined when the path is not this service's. */
  handle(peer: string, path: string, body: Uint8Array): Promise<Answer> | undefined;
}

/** Others in each round: what is news reaches everybody in a few rounds, and costs no more with more members. */
const PEERS_A_ROUND = 3;
const MAX_NOTES = 256;
const MAX_BYTES = 1_048_576;
/** Notes that need not be looked at again. */
const MAX_REMEMBERED = 4096;
const MAX_COMPLAINTS = 256;

export function createGossip(options: GossipOptions): Gossip {
  const { peers, ask, connected, origins, evidence, report } = options;
  /** Hashes of notes that were examined, the oldest first. */
  const seen = new Set<string>();
  /** Evidence that a connected peer has been told or has told itself, by its key. */
  const told = new Map<string, Set<string>>();
  const relaying = new Map<string, Promise<void>>();
  const listening = new Set<string>();
  /** When each peer was listened to last. */
  const heardAt = new Map<string, number>();
  /** Hashes of what each connected peer was told in the last message that it answered. */
  const said = new Map<string, ReadonlySet<string>>();
  const complaints = new Set<string>();
  let turn = 0;
  let rounds = 0;

  function complain(message: string): void {
    // A liar must not fill the log: each complaint once, and a bound on their number.
    if (complaints.has(message) || complaints.size >= MAX_COMPLAINTS) return;
    complaints.add(message);
    report('warn', message);
  }

  /** What fits into a message, beginning with another note each time, without what need not be said. */
  function message(omit: ReadonlySet<string> = new Set()): {
    readonly body: Uint8Array;
    readonly all: Set<string>;
  } {
    const notes = new Map(options.notes().map((note) => [hashOf(note), note]));
    const all = [...notes]
      .filter(([hash]) => !omit.has(hash))
      .map(([, note]) => new TextEncoder().encode(note));
    const chosen: Uint8Array[] = [];
    let bytes = 0;
    const first = all.length > MAX_NOTES ? turn++ % all.length : 0;
    for (const note of [...all.slice(first), ...all.slice(0, first)]) {
      if (chosen.length === MAX_NOTES || bytes + note.length > MAX_BYTES / 2) break;
      chosen.push(note);
      bytes += note.length;
    }
    const told = chosen.length === all.length ? notes.keys() : [];
    return { body: encodeCbor(chosen), all: new Set(told) };
  }

  async function hear(peer: string, body: Uint8Array): Promise<void> {
    if (body.length > MAX_BYTES) throw new Error(`${body.length} bytes are too many`);
    const notes = list(decodeCbor(body), MAX_NOTES, 'notes').map((note) => byteString(note, 'note'));
    for (const note of notes) {
      const hash = hashOf(note);
      if (seen.has(hash)) continue;
      try {
        await origins.examine(note, peer);
        remember(hash);
      } catch (error) {
        complain(`a checkpoint from ${peer} is refused: ${(error as Error).message}`);
        // Wrong signatures cost time to find: whoever sends one is not listened to any further.
        if ((error as ForgedNote).name === 'ForgedNote') throw error;
      }
    }
  }

  function remember(hash: string): void {
    if (seen.size >= MAX_REMEMBERED) seen.delete(seen.values().next().value!);
    seen.add(hash);
  }

  async function exchange(peer: string): Promise<void> {
    const { body: own, all } = message(said.get(peer));
    const { status, body } = await ask(peer, GOSSIP, own);
    if (status !== 200) throw new Error(`status ${status}`);
    said.set(peer, all);
    await hear(peer, body);
  }

  function relayTo(peer: string): Promise<void> {
    const running = relaying.get(peer);
    if (running) return running;
    const work = tell(peer)
      .catch((error: Error) => complain(`evidence does not reach ${peer}: ${error.message}`))
      .finally(() => relaying.delete(peer));
    relaying.set(peer, work);
    return work;
  }

  async function tell(peer: string): Promise<void> {
    const known = toldTo(peer);
    for (const { key, file } of evidence.convictions()) {
      if (known.has(key)) continue;
      const { status } = await ask(peer, EVIDENCE, new TextEncoder().encode(file));
      // A refusal is an answer too: it has been told.
      if (status >= 500) throw new Error(`status ${status}`);
      known.add(key);
    }
  }

  function toldTo(peer: string): Set<string> {
    const known = told.get(peer) ?? new Set<string>();
    told.set(peer, known);
    return known;
  }

  async function relay(): Promise<void> {
    // One that comes back is told everything again: it may have been restored from a backup.
    for (const peer of peers) if (!connected(peer)) told.delete(peer);
    await Promise.all(peers.filter(connected).map(relayTo));
  }

  async function answerNotes(peer: string, body: Uint8Array): Promise<Answer> {
    const now = performance.now();
    const tooSoon = now - (heardAt.get(peer) ?? Number.NEGATIVE_INFINITY) < options.leastGapMs;
    if (listening.has(peer) || tooSoon) return answerText(429, 'one after the other, and not so fast\n');
    listening.add(peer);
    heardAt.set(peer, now);
    try {
      await hear(peer, body);
      return { status: 200, body: message().body, contentType: 'application/cbor' };
    } catch (error) {
      return answerText(400, `${(error as Error).message}\n`);
    } finally {
      listening.delete(peer);
    }
  }

  async function takeEvidence(peer: string, body: Uint8Array): Promise<Answer> {
    if (body.length > MAX_EVIDENCE_BYTES) return answerText(413, 'too long to be evidence\n');
    try {
      const before = new Set(evidence.convictions().map(({ key }) => key));
      const outcome = await evidence.add(body);
      for (const { key } of evidence.convictions()) if (!before.has(key)) toldTo(peer).add(key);
      return answerText(200, `${outcome}\n`);
    } catch (error) {
      complain(`evidence from ${peer} is refused: ${(error as Error).message}`);
      return answerText(422, `${(error as Error).message}\n`);
    }
  }

  return {
    async round() {
      for (const peer of peers) if (!connected(peer)) said.delete(peer);
      await Promise.all(
        someOf(peers.filter(connected), rounds++ * PEERS_A_ROUND).map((peer) =>
          exchange(peer).catch((error: Error) => complain(`no checkpoints from ${peer}: ${error.message}`)),
        ),
      );
      await origins.settle();
      await relay();
    },
    relay,
    handle(peer, path, body) {
      if (path === GOSSIP) return answerNotes(peer, body);
      if (path === EVIDENCE) return takeEvidence(peer, body);
      return undefined;
    },
  };
}

function someOf(peers: readonly string[], first: number): readonly string[] {
  const at = peers.length > 0 ? first % peers.length : 0;
  return [...peers.slice(at), ...peers.slice(0, at)].slice(0, PEERS_A_ROUND);
}

function hashOf(note: Uint8Array | string): string {
  return toHex(sha256(typeof note === 'string' ? new TextEncoder().encode(note) : note));
}

/** What an operator is shown of a conviction: all but the file. */
export function summaryOf({ file: _file, key: _key, ...rest }: Conviction): Omit<Conviction, 'file' | 'key'> {
  return rest;
}
