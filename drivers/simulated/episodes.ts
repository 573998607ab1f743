import { ads1115Config, ads1115Value } from '../ads1115.ts';
import { type Counts, vibration } from '../adxl345.ts';
import { bme280Values } from '../bme280.ts';
import { ina219Scale, ina219Values } from '../ina219.ts';
import { monitorSettings } from '../monitor.ts';
import { conversionOf } from './ads1115.ts';
import { countOf } from './adxl345.ts';
import { drawCalibration, rawOf } from './bme280.ts';
import { ina219Registers } from './ina219.ts';
import { createMachine, type Lifetime, type MachineState } from './machine.ts';
import { loopCurrent, vibrationOf, wiring } from './wiring.ts';

export interface EpisodesOptions {
  readonly seed: number;
  /** How many episodes. */
  readonly count: number;
  /** From how many machines they come, in turn; by default each from its own. */
  readonly machines?: number | undefined;
  readonly lifetime?: Lifetime | undefined;
}

/**
 * Episodes from new to failure, for evaluation: `rows[episode][cycle][channel]`, in the order of `monitorChannels`. The
 * values are those that the drivers read from the same plant, rounding of the chips included; the last row is the cycle
 * of the failure.
 */
export function simulateEpisodes({ seed, count, machines = count, lifetime }: EpisodesOptions): number[][][] {
  const plant = Array.from({ length: Math.min(machines, count) }, (_, index) => ({
    index,
    machine: createMachine({ seed, machine: index, lifetime, repairCycles: 1 }),
    read: createReader(seed, index),
  }));
  return Array.from({ length: count }, (_, i) => {
    const { machine, read } = plant[i % plant.length]!;
    const rows: number[][] = [];
    while (!machine.state.running) machine.step();
    for (let running = true; running; machine.step()) {
      rows.push(read(machine.state));
      running = !machine.state.failed;
    }
    return rows;
  });
}

/** What the driver `machine-monitor` reads of a state, without the bus between them. */
export function createReader(seed: number, machine: number): (state: MachineState) => number[] {
  const settings = monitorSettings.parse({ bus: `sim:${machine}` });
  const where = `simulated machine ${machine}`;
  const calibration = drawCalibration(seed, machine);
  const scale = ina219Scale(settings.ina219.shuntOhm, settings.ina219.maxAmpere);
  const { range, rate, inputs } = settings.ads1115;
  const input = inputs[0]!;
  const config = ads1115Config(input.input, range, rate);
  const fullResolution16g = 0x0b;
  return (state) => {
    const burst = vibrationOf(seed, machine, state).map(
      (entry) => entry.map((value) => countOf(value, fullResolution16g)) as unknown as Counts,
    );
    const volts = (loopCurrent(state.load) / 1000) * wiring.burden;
    return [
      ...bme280Values(calibration, rawOf(calibration, state, 16), where),
      ...vibration(burst),
      ...ina219Values(ina219Registers(state, wiring.shunt, scale.config, scale.calibration), scale, where),
      ads1115Value(conversionOf(volts, config), range, input, where),
    ];
  };
}
