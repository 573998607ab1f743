import type { TrainingJob, TrainingResult } from '../../core/learning/job.ts';

/** One job; its features have come before it, in parts, since a big message would hold up the sender. */
export interface TrainMessage {
  readonly kind: 'train';
  readonly id: number;
  /** Its `features` are empty. */
  readonly job: TrainingJob;
  /** The most of one core that the process may use. */
  readonly cpuShare: number;
  /** How often a checkpoint is wanted, ms; 0: never. */
  readonly checkpointMs: number;
  /** A checkpoint to go on from. */
  readonly from?: Uint8Array | undefined;
}

/** To the training process: one job at a time. */
export type ParentMessage =
  | {
      readonly kind: 'features';
      readonly id: number;
      readonly total: number;
      readonly offset: number;
      readonly values: Float32Array;
    }
  | TrainMessage
  /** Between two steps, before the next one; to be answered with `standing` when it is so. */
  | { readonly kind: 'pause'; readonly serial: number }
  | { readonly kind: 'resume'; readonly serial: number };

/** From the training process. */
export type ChildMessage =
  | { readonly kind: 'ready'; readonly name: string; readonly backend: string }
  | { readonly kind: 'broken'; readonly message: string }
  /** The job goes on from `done` steps; `ignored` says why the checkpoint handed in was of no use. */
  | { readonly kind: 'started'; readonly id: number; readonly done: number; readonly ignored?: string }
  | ({ readonly kind: 'progress'; readonly id: number } & ChildProgress)
  | { readonly kind: 'checkpoint'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly kind: 'standing'; readonly serial: number; readonly paused: boolean }
  | {
      readonly kind: 'result';
      readonly id: number;
      readonly result: TrainingResult;
      readonly progress?: ChildProgress;
    }
  | { readonly kind: 'failed'; readonly id: number; readonly message: string };

export interface ChildProgress {
  readonly done: number;
  /** Mean time of a step so far, pauses and the CPU share's sleeps left out; the first step, which compiles, too. */
  readonly stepMs: number;
  /** CPU time of the process since its start, all threads. */
  readonly cpuMs: number;
  readonly residentBytes: number;
}
