/** The log tells of what was found damaged when the journal was opened: a signed entry, once. */
import type { Journal } from '../journal/journal.ts';
import { lossBody } from './losses.ts';
import type { Recorder } from './recorder.ts';

/** What the cause in such an entry begins with. */
export const DAMAGED = 'the journal was damaged';

/** Resolves when the entry is durable; at once when there is nothing to tell. */
export async function tellDamage(journal: Journal, recorder: Recorder): Promise<void> {
  const damage = journal.damage();
  const told = journal.damageTold();
  if (!damage || told.length === 0) return;
  const { blocks, numbers, log } = damage;
  await recorder.entry('loss', lossBody(log ? `${DAMAGED}: ${log}` : DAMAGED, blocks, numbers), told);
}
