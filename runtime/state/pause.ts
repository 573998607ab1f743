import { setTimeout as timeout } from 'node:timers/promises';

/** Waits `ms`, or less when `signal` fires; it never rejects, the caller looks at the signal. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  await timeout(ms, undefined, signal ? { signal } : {}).catch((error: Error) => {
    if (error.name !== 'AbortError') throw error;
  });
}
