/** Statements about keys that a gateway's directory holds, without its daemon. */
import type { Agreement } from '../../state/agreement/agreement.ts';
import { keys } from '../../state/journal/keys.ts';
import type { Store } from '../../state/journal/store.ts';
import { rosterOf } from '../../state/provenance/roster.ts';

const ROSTER = keys.section('roster', 'statement/');

/** Those of them that fit the agreement: earlier epochs leave some that do not. */
export async function storedStatements(
  store: Store,
  agreement: Agreement,
  handed: readonly Uint8Array[],
): Promise<readonly Uint8Array[]> {
  const roster = rosterOf(agreement);
  const stored: Uint8Array[] = [];
  for await (const [, statement] of store.entries({ from: ROSTER, to: `${ROSTER}\uffff` }))
    stored.push(statement);
  for (const statement of [...stored, ...handed]) {
    // What does not fit says nothing about the keys of this epoch.
    await roster.add(statement).catch(() => undefined);
  }
  return roster.statements();
}
