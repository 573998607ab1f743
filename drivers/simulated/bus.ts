import { busError, hex } from '../bus/errors.ts';
import { guardI2cBus, type I2cBus } from '../bus/i2c.ts';
import type { SimulatedChip } from './chip.ts';

/** What can be wrong with a bus: nobody answers, a call never comes back, the wires lie. */
export type BusFault = 'nack' | 'hang' | 'garbage';

/** A simulated bus whose faults can be switched; `null` mends it, and a hung call comes back then. */
export interface SimulatedBus {
  readonly bus: I2cBus;
  fault(fault: BusFault | null): void;
}

export interface SimulatedBusOptions {
  readonly name: string;
  readonly chips: ReadonlyMap<number, SimulatedChip>;
  readonly timeLimitMs?: number;
}

/** An I2C bus with chips at its addresses, behind the same queue and time limit as a real one. */
export function createSimulatedBus({ name, chips, timeLimitMs = 500 }: SimulatedBusOptions): SimulatedBus {
  let present: BusFault | null = null;
  let mended: (() => void)[] = [];

  const chipAt = async (address: number): Promise<SimulatedChip> => {
    if (present === 'hang') await new Promise<void>((resolve) => mended.push(resolve));
    const chip = present === 'nack' ? undefined : chips.get(address);
    // What the kernel says of a device that does not acknowledge.
    if (!chip) throw busError('ENXIO', `ENXIO: no such device or address, ${hex(address)}`);
    return chip;
  };
  const wire = (bytes: Uint8Array): Uint8Array => (present === 'garbage' ? bytes.map(() => 0xff) : bytes);

  const raw: I2cBus = {
    readRegister: async (address, register, length) => wire((await chipAt(address)).read(register, length)),
    writeRegister: async (address, register, bytes) => (await chipAt(address)).write(register, bytes),
    async readWord(address, register) {
      const [high = 0, low = 0] = wire((await chipAt(address)).read(register, 2));
      return (high << 8) | low;
    },
    writeWord: async (address, register, value) =>
      (await chipAt(address)).write(register, Uint8Array.of(value >> 8, value & 0xff)),
    close: async () => {},
  };
  return {
    bus: guardI2cBus(raw, { name, timeLimitMs }),
    fault(fault) {
      present = fault;
      if (fault === 'hang') return;
      const waiting = mended;
      mended = [];
      for (const resolve of waiting) resolve();
    },
  };
}
