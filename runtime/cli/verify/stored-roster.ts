/** The roster in a gateway's directory, every statement of it verified. */
import { toHex } from '../../core/encoding/base64.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { keyIdOf, parseSign1 } from '../../core/encoding/cose.ts';
import type { Agreement } from '../../state/agreement/agreement.ts';
import type { Store } from '../../state/journal/store.ts';
import { type Roster, rosterOf } from '../../state/provenance/roster.ts';
import { subjectOf } from '../../state/provenance/roster-state.ts';
import { broken } from './broken.ts';
import { sectionOf } from './stored.ts';

export interface StoredRoster {
  readonly roster: Roster;
  /** All that is stored, what does not fit the agreement too. */
  readonly statements: readonly Uint8Array[];
  /** Statements of earlier epochs, signed by keys that this agreement does not name. */
  readonly passedOver: number;
}

/** @throws Broken naming the first statement that does not hold. */
export async function readStoredRoster(store: Store, agreement: Agreement): Promise<StoredRoster> {
  const roster = rosterOf(agreement);
  const statements: Uint8Array[] = [];
  let passedOver = 0;
  for await (const [key, statement] of sectionOf(store, 'roster')) {
    statements.push(statement);
    try {
      await roster.add(statement);
    } catch (error) {
      if (!mayBeOfAnEarlierEpoch(statement, agreement))
        throw broken(`statement about keys (roster/${key}): ${(error as Error).message}`);
      passedOver += 1;
    }
  }
  return { roster, statements, passedOver };
}

/** The first epoch has nothing before it; in a later one a gateway may have left, or have another identity. */
function mayBeOfAnEarlierEpoch(statement: Uint8Array, agreement: Agreement): boolean {
  if (agreement.terms.epoch === 1) return false;
  try {
    const subject = subjectOf(statement);
    const gateway = agreement.gateways.find((one) => one.name === subject.gateway);
    if (!gateway || gateway.member !== subject.member) return true;
    const member = agreement.members.find((one) => one.name === gateway.member)!;
    const { keyId } = parseSign1(statement);
    return ![gateway.identity, member.publicKey].some((key) => equalBytes(keyIdOf(key), keyId));
  } catch {
    // It is no statement at all.
    return false;
  }
}

/** For messages. */
export function statementName(hash: Uint8Array): string {
  return `statement about keys ${toHex(hash).slice(0, 16)}`;
}
