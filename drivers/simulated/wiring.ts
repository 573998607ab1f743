import type { MachineState } from './machine.ts';
import { createRandom } from './random.ts';

/** How a simulated machine is wired to its chips; the drivers' settings for it say the same. */
export const wiring = {
  bme280: 0x76,
  adxl345: 0x53,
  ina219: 0x40,
  ads1115: 0x48,
  /** Shunt of the motor supply, ohm. */
  shunt: 0.01,
  /** Burden of the 4-20 mA loop, ohm. */
  burden: 200,
  /** Force at 20 mA, N. */
  loadAt20mA: 5000,
  /** Turning frequency, Hz. */
  turning: 25,
  /** Sampling rate of the accelerometer, Hz. */
  rate: 800,
} as const;

/** Earth's gravity as the accelerometer is adjusted to, m/s2. */
export const gravity = 9.80665;

const samples = 32;
const axisGain = [1, 0.8, 0.55] as const;

/** The 32 accelerations (m/s2; x, y, z) of a machine's cycle: a function of the seed, the machine and its state alone. */
export function vibrationOf(seed: number, machine: number, state: MachineState): [number, number, number][] {
  const random = createRandom(seed, machine, 0xa14, state.cycle);
  const { turning, broadband, shock } = state.vibration;
  const phase = 2 * Math.PI * random.uniform();
  // A defect is passed a few times a turn; each pass is a short, damped shock.
  const period = 6 + 3 * random.uniform();
  const first = period * random.uniform();
  return Array.from({ length: samples }, (_, i) => {
    const angle = phase + (2 * Math.PI * wiring.turning * i) / wiring.rate;
    const sincePass = (((i - first) % period) + period) % period;
    const ring = shock * Math.exp(-0.9 * sincePass) * Math.cos(2.1 * sincePass);
    const axis = (n: 0 | 1 | 2): number =>
      axisGain[n] * (turning * Math.SQRT2 * Math.sin(angle + n) + ring) + broadband * random.normal();
    return [axis(0), axis(1), axis(2) + gravity];
  });
}

/** Current in the 4-20 mA loop for a force, mA. */
export function loopCurrent(load: number): number {
  return 4 + (16 * load) / wiring.loadAt20mA;
}
