/** What the status tells of the training process. */
import type { Pause } from './governor.ts';

export interface TrainerStatus {
  /** What the process computes with, once one has run. */
  readonly backend: { readonly name: string; readonly detail: string } | null;
  readonly job: {
    readonly steps: number;
    readonly done: number;
    /** Steps that a checkpoint has saved. */
    readonly resumedAt: number;
    /** Milliseconds since 1970. */
    readonly since: number;
    /** Of computing alone. */
    readonly stepMs: number | null;
  } | null;
  /** `standing`: nothing is computed, the process has said so or there is none. */
  readonly paused: (Pause & { readonly standing: boolean }) | null;
  /** `cpu`: cores used since the last report but one. */
  readonly child: {
    readonly pid: number;
    readonly residentBytes: number;
    readonly cpu: number | null;
  } | null;
  /** Of the last job that ended well. */
  readonly lastStepMs: number | null;
}

/** Reports of CPU time closer together say little. */
const CPU_WINDOW_MS = 1000;

interface Moment {
  readonly cpuMs: number;
  readonly wallMs: number;
}

export interface Usage {
  readonly from: Moment;
  readonly cores: number | undefined;
  readonly residentBytes: number;
}

/** What a report of the process tells beside the one before. */
export function nextUsage(before: Usage | undefined, now: Moment, bytes: number): Usage {
  if (before === undefined) return { from: now, cores: undefined, residentBytes: bytes };
  const passed = now.wallMs - before.from.wallMs;
  if (passed < CPU_WINDOW_MS) return { ...before, residentBytes: bytes };
  return { from: now, cores: (now.cpuMs - before.from.cpuMs) / passed, residentBytes: bytes };
}
