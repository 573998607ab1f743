/** What is trained and measured on C-MAPSS: who trains together, with which privacy, and what the figure has to stay under. */
import type { PrivacyUnit } from '../../runtime/core/learning/job.ts';

export type Subset = 'FD001' | 'FD002';

export interface Variant {
  readonly name: string;
  readonly subset: Subset;
  /** `alone`: each company by itself, and the mean of their errors. */
  readonly who: 'central' | 'federated' | 'alone';
  readonly unit: PrivacyUnit;
  /** Absent when the unit is `none`. */
  readonly epsilon?: number;
}

export const GATEWAYS = 5;
export const DELTA = 1e-5;

const plain = { subset: 'FD001', unit: 'none' } as const;

/** The lines of the table, in its order. */
export const TABLE: readonly Variant[] = [
  { name: 'central', ...plain, who: 'central' },
  { name: 'federated', ...plain, who: 'federated' },
  { name: 'alone', ...plain, who: 'alone' },
  { name: 'window-8', subset: 'FD001', who: 'federated', unit: 'window', epsilon: 8 },
  { name: 'window-2', subset: 'FD001', who: 'federated', unit: 'window', epsilon: 2 },
  { name: 'episode-8', subset: 'FD001', who: 'federated', unit: 'episode', epsilon: 8 },
];

export const FD002: readonly Variant[] = [
  { name: 'fd002-federated', subset: 'FD002', who: 'federated', unit: 'none' },
];

/** The points of the picture that the table does not have already. */
export const CURVE: readonly Variant[] = [
  ...[0.25, 0.5, 1, 4, 16].map((epsilon) => point('window', epsilon)),
  ...[2, 4, 16, 32].map((epsilon) => point('episode', epsilon)),
];

function point(unit: 'window' | 'episode', epsilon: number): Variant {
  return { name: `${unit}-${epsilon}`, subset: 'FD001', who: 'federated', unit, epsilon };
}
