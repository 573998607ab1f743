import { busError } from '../bus/errors.ts';
import type { I2cBus } from '../bus/i2c.ts';
import type { BusAccess } from '../driver.ts';
import { type MonitorSettings, monitorSettings } from '../monitor.ts';
import { simulatedAds1115 } from './ads1115.ts';
import { simulatedAdxl345 } from './adxl345.ts';
import { drawCalibration, simulatedBme280 } from './bme280.ts';
import { type BusFault, createSimulatedBus } from './bus.ts';
import type { SimulatedChip } from './chip.ts';
import { createContact } from './contact.ts';
import { simulatedIna219 } from './ina219.ts';
import { createMachine, type Lifetime, type MachineState } from './machine.ts';
import { loopCurrent, vibrationOf, wiring } from './wiring.ts';

export interface PlantOptions {
  /** Equal seeds make equal plants. */
  readonly seed: number;
  readonly machines: number;
  /** Length of a cycle, ms. */
  readonly cycleMs: number;
  /** The time, ms; any origin. */
  readonly now: () => number;
  /** When cycle 0 began, on the clock of `now`; by default when the plant is made. */
  readonly startMs?: number | undefined;
  readonly lifetime?: Lifetime | undefined;
  readonly repairCycles?: number | undefined;
  /** Time limit of a bus call, ms. */
  readonly timeLimitMs?: number | undefined;
}

/** Simulated machines behind buses `sim:0`, `sim:1`, ... and lines 0, 1, ... of the GPIO chip `sim`. */
export interface SimulatedPlant extends BusAccess {
  readonly machines: number;
  readonly cycleMs: number;
  readonly startMs: number;
  /** Settings of the driver `machine-monitor` for a machine, its contact included. */
  monitorSettings(machine: number): MonitorSettings;
  /** The truth about a machine now: for tests and screens, never for training. */
  state(machine: number): MachineState;
  /** Breaks a machine's bus, or mends it. */
  fault(machine: number, fault: BusFault | null): void;
}

/** A plant that has been away for longer is not caught up with: the clock is more likely to be wrong. */
const mostCatchUp = 5_000_000;

/**
 * A plant whose machines go on with the clock: in [startMs + k cycleMs, startMs + (k+1) cycleMs) a machine is in cycle
 * k, whoever reads it and however often, and all chips show that cycle. Sample in the middle of a cycle. A clock that
 * steps back does not turn a machine back.
 */
export function createSimulatedPlant(options: PlantOptions): SimulatedPlant {
  const { machines: count, cycleMs, now, timeLimitMs = 500 } = options;
  const startMs = options.startMs ?? now();
  if (!Number.isInteger(count) || count < 1 || count > 1000)
    throw new RangeError(`simulated plant: ${count} machines, not 1 to 1000`);
  if (!(cycleMs > 0)) throw new RangeError(`simulated plant: a cycle of ${cycleMs} ms`);

  const machines = Array.from({ length: count }, (_, index) => {
    const machine = createMachine({ ...options, machine: index });
    const state = (): MachineState => {
      const cycle = Math.floor((now() - startMs) / cycleMs);
      if (cycle - machine.state.cycle > mostCatchUp) {
        throw busError(
          'EBUSIO',
          `simulated machine ${index}: ${cycle - machine.state.cycle} cycles behind the clock, more than ${mostCatchUp}. ` +
            'Has the clock been set? Start the plant afresh.',
        );
      }
      while (machine.state.cycle < cycle) machine.step();
      return machine.state;
    };
    const simulated = createSimulatedBus({
      name: `sim:${index}`,
      chips: wire(options.seed, index, state),
      timeLimitMs,
    });
    return { state, ...simulated, contact: createContact(() => state().failed, Math.max(5, cycleMs / 4)) };
  });

  const at = (index: number, what: string) => {
    const found = machines[index];
    if (found) return found;
    throw busError('ENXIO', `simulated plant: there is no ${what}; it has machines 0 to ${count - 1}.`);
  };
  return {
    machines: count,
    cycleMs,
    startMs,
    monitorSettings: (machine) =>
      monitorSettings.parse({ bus: `sim:${machine}`, contact: { chip: 'sim', offset: machine } }),
    state: (machine) => at(machine, `machine ${machine}`).state(),
    fault: (machine, fault) => at(machine, `machine ${machine}`).fault(fault),
    async i2c(bus): Promise<I2cBus> {
      const index = typeof bus === 'string' && /^sim:\d+$/.test(bus) ? Number(bus.slice(4)) : -1;
      // The bus belongs to the plant: a sensor that closes must not take it from the others.
      return { ...at(index, `bus "${bus}"`).bus, close: async () => {} };
    },
    gpio: async (line) =>
      at(line.chip === 'sim' ? line.offset : -1, `line ${line.offset} of "${line.chip}"`).contact,
  };
}

/** The four chips of a machine, each showing the state at the moment of its measurement. */
function wire(seed: number, machine: number, state: () => MachineState): Map<number, SimulatedChip> {
  const shaking = () => {
    const shown = state();
    return { burst: shown.cycle, accelerations: () => vibrationOf(seed, machine, shown) };
  };
  return new Map<number, SimulatedChip>([
    [wiring.bme280, simulatedBme280(drawCalibration(seed, machine), state)],
    [wiring.adxl345, simulatedAdxl345(shaking)],
    [wiring.ina219, simulatedIna219(wiring.shunt, state)],
    [
      wiring.ads1115,
      simulatedAds1115((input) => (input === 0 ? (loopCurrent(state().load) / 1000) * wiring.burden : 0)),
    ],
  ]);
}
