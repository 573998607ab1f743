import { type SimulatedChip, wordChip } from './chip.ts';

/** What flows through the shunt (A) and the voltage behind it (V). */
export interface Supply {
  readonly current: number;
  readonly voltage: number;
}

const powerOnConfig = 0x399f;
const ready = 0x2;
const overflow = 0x1;

/** The four measuring registers for a supply, as the chip computes them (data sheet 8.5.1, equations 4 and 5). */
export function ina219Registers(
  supply: Supply,
  shuntOhm: number,
  config: number,
  calibration: number,
): { shunt: number; bus: number; current: number; power: number } {
  const limit = 4000 << ((config >> 11) & 3);
  const shunt = Math.min(limit, Math.max(-limit, Math.round((supply.current * shuntOhm) / 10e-6)));
  const most = (config & 0x2000) !== 0 ? 8000 : 4000;
  const volts = Math.min(most, Math.max(0, Math.round(supply.voltage / 0.004)));
  const current = Math.trunc((shunt * calibration) / 4096);
  const power = Math.trunc((Math.abs(current) * volts) / 5000);
  const over = Math.abs(current) > 32767 || power > 65535;
  return { shunt, bus: (volts << 3) | ready | (over ? overflow : 0), current, power };
}

/** An INA219 over a shunt: triggered and continuous conversions, the ready flag, the calibration register. */
export function simulatedIna219(shuntOhm: number, supply: () => Supply): SimulatedChip {
  let config = powerOnConfig;
  let calibration = 0;
  let measured = { shunt: 0, bus: 0, current: 0, power: 0 };
  const convert = (): void => {
    measured = ina219Registers(supply(), shuntOhm, config, calibration);
  };
  return wordChip(
    (register) => {
      switch (register) {
        case 0:
          return config;
        case 1:
          return measured.shunt;
        case 2:
          if ((config & 7) > 4) convert();
          return measured.bus;
        case 3: {
          const { power } = measured;
          measured = { ...measured, bus: measured.bus & ~ready };
          return power;
        }
        case 4:
          return measured.current;
        case 5:
          return calibration;
        default:
          return 0;
      }
    },
    (register, word) => {
      if (register === 0 && (word & 0x8000) !== 0) {
        config = powerOnConfig;
        calibration = 0;
      } else if (register === 0) {
        config = word;
        measured = { ...measured, bus: measured.bus & ~ready };
        if ((config & 3) !== 0) convert();
      } else if (register === 5) {
        calibration = word & ~1; // the lowest bit cannot be set
      }
    },
  );
}
