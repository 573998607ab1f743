/**
 * A gateway's own log, taken back from those that mirror it: leaves that a restored directory has not yet, and
 * leaves whose records were damaged. Nothing is taken over that is not under a checkpoint that this gateway's
 * own log key has signed and the peer that gives it has cosigned.
 */
import { decodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { byteString, list } from '../../core/encoding/fields.ts';
import { leafHash } from '../../core/log/hash.ts';
import { createFrontier, type FrontierState } from '../../core/log/tree.ts';
import { type AskPeer, SEEN, WITNESSED } from './gossip.ts';
import type { SignedHead } from './mirror.ts';
import { MIRROR } from './mirrors.ts';
import { type LogParty, openStored, witnessName } from './names.ts';
import { compareTrees, type Fetch, type Head, verifiedLeaves } from './tree-source.ts';

export interface RecoveryPeers {
  /** The gateway whose log is recovered. */
  readonly own: LogParty;
  readonly parties: readonly LogParty[];
  /** Sends a request to a peer; rejects when it is not answered in time. */
  readonly ask: AskPeer;
}

/** A checkpoint of the own log, as a peer holds it. */
export interface HeldHead extends SignedHead {
  readonly gateway: string;
  readonly member?: string;
  /** Signed with a log key that is revoked: whoever stole it can sign what he likes, so f members' word is not enough. */
  readonly revoked?: boolean;
  /** The peer has not cosigned it, only seen it: no mirror may have it, and still nothing else may be signed. */
  readonly seen?: boolean;
}

/** What the peer has done with the checkpoint. */
export const verbOf = ({ seen }: HeldHead): string => (seen ? 'seen' : 'cosigned');

export interface Survey {
  /** The newest checkpoint that each peer has cosigned, and newer ones that it has seen, the largest first. */
  readonly heads: readonly HeldHead[];
  /** The checkpoint up to which each mirror has the log, the largest first. */
  readonly mirrors: readonly HeldHead[];
  /** Peers that gave nothing that can be believed, and why. */
  readonly silent: readonly { readonly gateway: string; readonly reason: string }[];
}

/** Notes that one peer may show of one log. */
const MAX_SEEN = 32;

/** Asks other gateways, all unless `some` are named, what they hold of the own log. */
export async function surveyPeers(
  { own, parties, ask }: RecoveryPeers,
  some: readonly LogParty[] = parties,
): Promise<Survey> {
  const heads: HeldHead[] = [];
  const mirrors: HeldHead[] = [];
  const silent: { gateway: string; reason: string }[] = [];
  async function read(peer: LogParty, path: string, body: Uint8Array, into: HeldHead[]): Promise<void> {
    const answer = await ask(peer.gateway, path, body);
    if (answer.status === 404) return;
    if (answer.status !== 200) throw new Error(`status ${answer.status}`);
    into.push(openHeld(answer.body, peer, own, parties));
  }
  async function readSeen(peer: LogParty): Promise<void> {
    const answer = await ask(peer.gateway, SEEN, new TextEncoder().encode(own.origin));
    if (answer.status === 404) return;
    if (answer.status !== 200) throw new Error(`status ${answer.status}`);
    for (const note of list(decodeCbor(answer.body), MAX_SEEN, 'notes')) {
      const head = openHead(byteString(note, 'note'), peer, own, parties);
      if (heads.some(({ size, root }) => size === head.size && equalBytes(root, head.root))) continue;
      heads.push({ ...head, seen: true });
    }
  }
  const others = some.filter(({ gateway }) => gateway !== own.gateway);
  await Promise.all(
    others.map(async (peer) => {
      try {
        await read(peer, WITNESSED, new TextEncoder().encode(own.origin), heads);
        await read(peer, `${MIRROR}${own.gateway}/checkpoint`, new Uint8Array(0), mirrors);
        await readSeen(peer);
      } catch (error) {
        silent.push({ gateway: peer.gateway, reason: (error as Error).message });
      }
    }),
  );
  const bySize = (a: Head, b: Head) => b.size - a.size;
  return { heads: heads.sort(bySize), mirrors: mirrors.sort(bySize), silent };
}

function openHeld(body: Uint8Array, peer: LogParty, own: LogParty, parties: readonly LogParty[]): HeldHead {
  const { verified } = openStored(body, own, parties);
  if (!verified.some(({ name }) => name === witnessName(peer.origin)))
    throw new Error(`${peer.gateway} has not cosigned the checkpoint that it gives`);
  return openHead(body, peer, own, parties);
}

function openHead(body: Uint8Array, peer: LogParty, own: LogParty, parties: readonly LogParty[]): HeldHead {
  const { checkpoint, verified } = openStored(body, own, parties);
  const revoked = !verified.some(({ name, keyId }) =>
    own.logs.some((key) => key.name === name && key.keyId === keyId),
  );
  const { size, root } = checkpoint;
  return {
    gateway: peer.gateway,
    member: peer.member,
    revoked,
    size,
    root,
    note: new TextDecoder().decode(body),
  };
}

export interface RecoverOptions extends RecoveryPeers {
  /** The right edge of what is there. */
  readonly from: FrontierState;
  readonly survey: Survey;
  /** Makes verified leaves durable, with the right edge behind them. */
  readonly keep: (leaves: readonly Uint8Array[], frontier: FrontierState) => Promise<void>;
}

export interface Recovery {
  /**
   * `current`: no peer has seen more than is here. `complete`: the log reaches what any peer has cosigned.
   * `partial`: it does not, since no mirror has the rest. `diverged`: what is here is not how the published log
   * begins, so that it cannot go on from here.
   */
  readonly kind: 'current' | 'complete' | 'partial' | 'diverged';
  readonly frontier: FrontierState;
  /** The newest checkpoint that any peer has cosigned. */
  readonly newest: HeldHead | undefined;
  /** What went wrong with mirrors that were tried. */
  readonly failures: readonly { readonly gateway: string; readonly reason: string }[];
}

/**
 * Fetches the leaves from `from` up to the newest checkpoint that any peer has cosigned, each mirror taking
 * over where the last one failed. @throws Error when two peers hold checkpoints that contradict each other.
 */
export async function recoverFromMirrors(options: RecoverOptions): Promise<Recovery> {
  const { heads, mirrors } = options.survey;
  const all = [...heads, ...mirrors].sort((a, b) => b.size - a.size);
  assertOneStory(all);
  const newest = all[0];
  const walk = createFrontier(options.from);
  const failures: { gateway: string; reason: string }[] = [];
  const done = (kind: Recovery['kind']): Recovery => ({
    kind,
    frontier: { size: walk.size, hashes: walk.hashes },
    newest,
    failures,
  });
  if (!newest || newest.size <= walk.size) return done('current');
  for (const mirror of mirrors) {
    if (mirror.size <= walk.size) continue;
    const fetch = fetchOf(options, mirror.gateway);
    const comparison = await compareTrees({ size: walk.size, root: walk.root() }, mirror, fetch);
    if (comparison.kind === 'contradiction') return done('diverged');
    const batches = verifiedLeaves({ from: walk, target: mirror, fetch });
    for (;;) {
      const next = await batches.next().catch((error: Error) => {
        failures.push({ gateway: mirror.gateway, reason: error.message });
      });
      if (!next || next.done) break;
      const { leaves, frontier } = next.value;
      passHeads(leaves, walk, all, mirror);
      await options.keep(leaves, frontier);
    }
  }
  return done(walk.size >= newest.size ? 'complete' : 'partial');
}

function fetchOf({ ask, own }: RecoveryPeers, gateway: string): Fetch {
  return async (path) => {
    const { status, body } = await ask(gateway, `${MIRROR}${own.gateway}/${path}`, new Uint8Array(0));
    if (status === 200) return body;
    throw new Error(`${gateway} answers ${path} with status ${status}`);
  };
}

/** Peers hold checkpoints of the own log that cannot both be true. */
export interface TwoStories extends Error {
  readonly name: 'TwoStories';
  readonly heads: readonly HeldHead[];
}

function twoStories(a: HeldHead, b: HeldHead): TwoStories {
  const message = `${a.gateway} (${a.size} leaves) and ${b.gateway} (${b.size} leaves) hold checkpoints of this log that contradict each other`;
  return Object.assign(new Error(message), { name: 'TwoStories' as const, heads: [a, b] });
}

function assertOneStory(heads: readonly HeldHead[]): void {
  for (const [index, head] of heads.entries()) {
    const before = heads[index - 1];
    if (before?.size === head.size && !equalBytes(before.root, head.root)) throw twoStories(before, head);
  }
}

/** Goes on over the leaves, and compares every checkpoint that is passed. */
function passHeads(
  leaves: readonly Uint8Array[],
  walk: ReturnType<typeof createFrontier>,
  heads: readonly HeldHead[],
  mirror: HeldHead,
): void {
  for (const leaf of leaves) {
    walk.append(leafHash(leaf));
    for (const head of heads) {
      if (head.size === walk.size && !equalBytes(walk.root(), head.root)) throw twoStories(mirror, head);
    }
  }
}
