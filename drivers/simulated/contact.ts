import type { GpioInput } from '../bus/gpio.ts';

/**
 * A simulated contact. `level` tells whether it is closed now; edges are noticed when it is looked at, every `lookMs`
 * while somebody listens.
 */
export function createContact(level: () => boolean, lookMs: number): GpioInput {
  const listeners = new Set<(value: 0 | 1) => void>();
  let timer: NodeJS.Timeout | undefined;
  let last: 0 | 1 = 0;
  const now = (): 0 | 1 => (level() ? 1 : 0);
  const look = (): void => {
    const value = now();
    if (value === last) return;
    last = value;
    for (const listener of [...listeners]) listener(value);
  };
  const stop = (): void => {
    clearInterval(timer);
    timer = undefined;
  };
  return {
    value: async () => now(),
    onEdge(callback) {
      if (timer === undefined) {
        last = now();
        timer = setInterval(look, lookMs);
      }
      listeners.add(callback);
      return () => {
        listeners.delete(callback);
        if (listeners.size === 0) stop();
      };
    },
    async close() {
      listeners.clear();
      stop();
    },
  };
}
