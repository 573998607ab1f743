import type { BusAccess } from '../../drivers/driver.ts';
import { createSimulatedBus } from '../../drivers/simulated/bus.ts';
import type { SimulatedChip } from '../../drivers/simulated/chip.ts';

/** A bus with one chip, and no GPIO. */
export function accessTo(address: number, chip: SimulatedChip): BusAccess {
  return {
    i2c: async (bus) => createSimulatedBus({ name: `bus ${bus}`, chips: new Map([[address, chip]]) }).bus,
    gpio: async () => {
      throw new Error('no GPIO here');
    },
  };
}
