/** What the gateway knows of its clock. A Pi has no clock battery: time can jump, and a sample says so. */
import { existsSync } from 'node:fs';
import type { ClockState } from '../../core/encoding/kind.ts';

/** systemd-timesyncd makes this file when it has set the clock. */
const SYNCHRONISED_MARK = '/run/systemd/timesync/synchronized';
const MARK_PERIOD_MS = 30_000;
/** NTP slews smaller differences away; a larger one was a step. */
const STEP_MS = 500;

export interface Clock {
  /** UTC in milliseconds since 1970, and how far it can be relied on. */
  now(): { readonly time: number; readonly clock: ClockState };
}

export function createClock(): Clock {
  let synchronised = existsSync(SYNCHRONISED_MARK);
  let looked = performance.now();
  let offset = Date.now() - performance.now();
  return {
    now() {
      const monotonic = performance.now();
      const time = Date.now();
      if (monotonic - looked > MARK_PERIOD_MS) {
        synchronised = existsSync(SYNCHRONISED_MARK);
        looked = monotonic;
      }
      const stepped = Math.abs(time - monotonic - offset) > STEP_MS;
      offset = time - monotonic;
      return { time, clock: stepped ? 'stepped' : synchronised ? 'synchronised' : 'free-running' };
    },
  };
}
