/** The words in which an agreement says what a window is described by and what is learned from it. */

/** What a window can be described by; each is made for every input channel. */
export const FEATURES = [
  'means',
  'slopes',
  'raw',
  'rms',
  'kurtosis',
  'crest',
  'peak-to-peak',
  'bands',
] as const;
export type Feature = (typeof FEATURES)[number];

/** Features that a shorter window than the agreed one does not have. */
export const WHOLE_WINDOWS: readonly Feature[] = ['raw', 'bands'];

/** What a model can be taught: see `labels.ts`. */
export const LABELS = ['remaining-life', 'failure-within', 'none'] as const;
export type Label = (typeof LABELS)[number];
