/** What the log's own entries say that records elsewhere in the directory must agree with. */
import type { CborValue } from '../../core/encoding/cbor.ts';
import type { Entry, EntryKind } from '../../core/encoding/entry.ts';
import { DAMAGED } from '../../state/provenance/tell-damage.ts';

export interface Notebook {
  add(entry: Entry): void;
  /** Bodies of the entries of one kind, in the order of the log. */
  bodies(kind: EntryKind): readonly CborValue[];
  /** Whether the log tells of damage: then records of the rooms may be gone too, with nothing to show for it. */
  tellsOfDamage(): boolean;
}

const KEPT: readonly EntryKind[] = [
  'maintenance',
  'agreement',
  'charge',
  'keys',
  'recovery',
  'loss',
  'training',
];

export function createNotebook(): Notebook {
  const kept = new Map<EntryKind, CborValue[]>(KEPT.map((kind) => [kind, []]));
  return {
    add: ({ kind, body }) => void kept.get(kind)?.push(body),
    bodies: (kind) => kept.get(kind) ?? [],
    tellsOfDamage: () =>
      kept.get('loss')!.some((body) => Array.isArray(body) && String(body[0]).startsWith(DAMAGED)),
  };
}
