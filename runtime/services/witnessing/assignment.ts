/** Who keeps a copy of whose log: everybody computes it from the agreement. */
import { sha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import { encodeCbor } from '../../core/encoding/cbor.ts';
import type { LogParty } from './names.ts';

/** Mirrors of a log, its owner's member not among them. */
const MIRRORS = 3;

/**
 * The gateways that mirror `of`'s log: one each of min(3, n-1) other members, those with the lowest
 * SHA-256 of (agreement's hash, origin, member), of each the gateway with the lowest of (.., gateway).
 */
export function mirrorsOf(
  agreement: Uint8Array,
  parties: readonly Pick<LogParty, 'gateway' | 'member' | 'origin'>[],
  of: Pick<LogParty, 'member' | 'origin'>,
): readonly string[] {
  const lot = (name: string) => toHex(sha256(encodeCbor([agreement, of.origin, name])));
  const inOrder = (names: Iterable<string>) => [...new Set(names)].sort((a, b) => (lot(a) < lot(b) ? -1 : 1));
  const others = parties.filter(({ member }) => member !== of.member);
  return inOrder(others.map(({ member }) => member))
    .slice(0, MIRRORS)
    .map(
      (member) => inOrder(others.filter((one) => one.member === member).map(({ gateway }) => gateway))[0]!,
    );
}
