import { byteRegisters, type SimulatedChip } from './chip.ts';
import { gravity } from './wiring.ts';

/** What shakes the chip now: which burst this is, and its accelerations, m/s2. */
export interface Shaking {
  readonly burst: number;
  readonly accelerations: () => readonly (readonly [number, number, number])[];
}

/** Counts of an acceleration (m/s2) under DATA_FORMAT: full resolution or 10 bits, cut at the range. */
export function countOf(acceleration: number, format: number): number {
  const range = format & 3; // 2, 4, 8, 16 g
  const full = (format & 0x08) !== 0;
  const limit = full ? 512 << range : 512;
  const count = Math.round((acceleration / gravity) * (full ? 256 : 256 >> range));
  return Math.min(limit - 1, Math.max(-limit, count));
}

/**
 * An ADXL345 in stream mode: its FIFO holds the 32 accelerations of the present burst. A burst that is read to its end
 * begins again, since to a burst that lasts as long as a machine's cycle no reader is ever too fast.
 */
export function simulatedAdxl345(shaking: () => Shaking): SimulatedChip {
  const registers = new Uint8Array(64);
  registers[0x00] = 0xe5;
  registers[0x2c] = 0x0a;
  let burst = -1;
  let fifo: readonly (readonly [number, number, number])[] = [];
  let next = 0;

  const measuring = (): boolean => (registers[0x2d]! & 0x08) !== 0;
  const refill = (): void => {
    if (next % Math.max(1, fifo.length) !== 0) return; // never a mixture of two bursts
    next = 0;
    const now = shaking();
    if (now.burst === burst) return;
    burst = now.burst;
    fifo = now.accelerations();
  };
  const pop = (): void => {
    const entry = fifo[next % Math.max(1, fifo.length)] ?? [0, 0, 0];
    next += 1;
    entry.forEach((acceleration, axis) => {
      const count = countOf(acceleration, registers[0x31]!);
      registers.set([count, count >> 8], 0x32 + 2 * axis);
    });
  };
  return {
    read(register, length) {
      if (register <= 0x39 && register + length > 0x39) {
        refill();
        registers[0x39] = measuring() && registers[0x38]! >> 6 !== 0 ? fifo.length : 0;
      }
      if (register === 0x32 && measuring()) {
        if (fifo.length === 0) refill();
        pop();
      }
      return byteRegisters((at) => registers[at] ?? 0, length, register);
    },
    write(register, bytes) {
      bytes.forEach((value, i) => {
        const at = register + i;
        // Identity, data and states cannot be written.
        if (
          at < 0x1d ||
          at >= 0x3a ||
          at === 0x39 ||
          at === 0x30 ||
          at === 0x2b ||
          (at >= 0x32 && at <= 0x37)
        )
          return;
        registers[at] = value;
      });
    },
  };
}
