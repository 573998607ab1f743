/** What the checks of a directory's records are given, and what they give. */
import type { LogParty } from '../../services/witnessing/names.ts';
import type { Agreement } from '../../state/agreement/agreement.ts';
import type { Store } from '../../state/journal/store.ts';
import type { Notebook } from './notebook.ts';
import type { StoredRoster } from './stored-roster.ts';

export interface SectionsContext {
  readonly store: Store;
  readonly agreement: Agreement;
  readonly gateway: string;
  readonly parties: readonly LogParty[];
  readonly stored: StoredRoster;
  readonly notebook: Notebook;
  /** Whether all entries that are no samples are there: else records may say more than the log that is left. */
  readonly isWhole: boolean;
}

/** A check of one room's records: how many hold, and how many nobody here can judge. */
export interface Checked {
  readonly held: number;
  readonly outside: number;
}
