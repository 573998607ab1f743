import { type SimulatedChip, wordChip } from './chip.ts';

const powerOnConfig = 0x8583;
const fullScales = [6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256] as const;

/** The conversion register for volts between the chosen inputs, cut at full scale. */
export function conversionOf(volts: number, config: number): number {
  const count = Math.round((volts / fullScales[(config >> 9) & 7]!) * 32768);
  return Math.min(32767, Math.max(-32768, count));
}

/** An ADS1115: single conversions of `volts(AIN)`, and continuous ones. */
export function simulatedAds1115(volts: (input: number) => number): SimulatedChip {
  let config = powerOnConfig;
  let conversion = 0;
  const thresholds = [0x8000, 0x7fff];
  const convert = (): void => {
    const mux = (config >> 12) & 7;
    const pairs = [
      [0, 1],
      [0, 3],
      [1, 3],
      [2, 3],
    ] as const;
    const pair = pairs[mux];
    conversion = conversionOf(pair ? volts(pair[0]) - volts(pair[1]) : volts(mux - 4), config);
  };
  return wordChip(
    (register) => {
      const pointer = register & 3;
      if (pointer === 0 && (config & 0x0100) === 0) convert();
      return pointer === 0 ? conversion : pointer === 1 ? config : thresholds[pointer - 2]!;
    },
    (register, word) => {
      const pointer = register & 3;
      if (pointer === 1) {
        config = word | 0x8000; // reads as idle: a simulated conversion takes no time
        if ((word & 0x8000) !== 0) convert();
      } else if (pointer > 1) {
        thresholds[pointer - 2] = word;
      }
    },
  );
}
