import type { TrainingJob, TrainingResult } from '../../core/learning/job.ts';

/** To the training process: one job at a time. */
export interface TrainMessage {
  readonly kind: 'train';
  readonly id: number;
  readonly job: TrainingJob;
}

/** From the training process. */
export type ChildMessage =
  | { readonly kind: 'ready'; readonly backend: string }
  | { readonly kind: 'broken'; readonly message: string }
  | { readonly kind: 'progress'; readonly id: number; readonly done: number; readonly residentBytes: number }
  | { readonly kind: 'result'; readonly id: number; readonly result: TrainingResult }
  | { readonly kind: 'failed'; readonly id: number; readonly message: string };
