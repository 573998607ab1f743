/**
 * Whether this gateway may sign a new checkpoint of its own log. A directory that was restored from an older copy
 * does not know what it has signed since, and one more checkpoint would be a second story: so its peers are asked
 * first how far they have seen it.
 */
import { equalBytes } from '../../core/encoding/cbor.ts';
import { faults, quorum } from '../../core/log/policy.ts';
import { readRoot } from '../../core/log/proof.ts';
import { hashReaderFromTiles } from '../../core/log/tiles.ts';
import type { Journal } from '../../state/journal/journal.ts';
import type { LogParty } from './names.ts';
import { type HeldHead, type RecoveryPeers, surveyPeers } from './recovery.ts';

export interface OwnHeadOptions extends RecoveryPeers {
  readonly journal: Pick<Journal, 'head' | 'tile'>;
  readonly connected: (gateway: string) => boolean;
}

export interface OwnHead {
  /** Asks connected peers that have not answered yet. */
  ask(): Promise<void>;
  /** Why no new checkpoint may be signed, or undefined. */
  held(): string | undefined;
  /** The head that shows that this directory is not what was published, or undefined. */
  beyond(): HeldHead | undefined;
}

/**
 * Other members whose answers are enough: of any n - q + 1 one has cosigned the newest final checkpoint. So a start
 * waits for fewer than finality does; one that lies can hide what only it has seen.
 */
export function answersNeeded(members: number): number {
  return Math.min(members - 1, members - quorum(members) + 1);
}

export function createOwnHead(options: OwnHeadOptions): OwnHead {
  const { own, parties, journal, connected } = options;
  const answered = new Set<string>();
  const memberCount = new Set(parties.map(({ member }) => member)).size;
  const needed = answersNeeded(memberCount);
  const underRevoked = new Set<string>();
  let bad: { readonly head: HeldHead; readonly why: string } | undefined;

  function members(): number {
    const others = parties.filter(({ gateway, member }) => answered.has(gateway) && member !== own.member);
    return new Set(others.map(({ member }) => member)).size;
  }

  async function judge(head: HeldHead): Promise<string | undefined> {
    const size = journal.head()?.size ?? 0;
    if (head.size > size)
      return `${head.gateway} has seen ${head.size} leaves of this log, and it ends at ${size}`;
    const reader = hashReaderFromTiles(head.size, (level, index, width) => journal.tile(level, index, width));
    if (equalBytes(await readRoot(head.size, reader), head.root)) return undefined;
    return `${head.gateway} has seen other leaves than the first ${head.size} of this log`;
  }

  return {
    async ask() {
      const waiting = (party: LogParty) => !answered.has(party.gateway) && connected(party.gateway);
      const asked = parties.filter((party) => party.gateway !== own.gateway && waiting(party));
      if (asked.length === 0) return;
      const { heads, silent } = await surveyPeers(options, asked);
      for (const head of heads) {
        const why = await judge(head);
        if (why === undefined) continue;
        if (head.revoked && underRevoked.add(head.member!).size <= faults(memberCount)) continue;
        bad ??= { head, why };
      }
      for (const { gateway } of asked) {
        if (!silent.some((one) => one.gateway === gateway)) answered.add(gateway);
      }
    },
    held() {
      if (bad) return `this directory is not what was published: ${bad.why}; run kosmos recover`;
      const count = members();
      if (count >= needed) return undefined;
      return `${count} of ${needed} members have said how far they have seen this log`;
    },
    beyond: () => bad?.head,
  };
}
