import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { bandEnergies } from '../../../runtime/core/learning/spectrum.ts';
import { crest, kurtosis, mean, peakToPeak, rms } from '../../../runtime/core/learning/statistics.ts';

const wave = (length: number, of: (index: number) => number) =>
  Float64Array.from({ length }, (_, i) => of(i));
const sine = (length: number, cycles: number, height = 1) =>
  wave(length, (index) => height * Math.sin((2 * Math.PI * cycles * (index + 0.5)) / length));
const near = (actual: number, expected: number, within = 1e-4) =>
  assert.ok(Math.abs(actual - expected) < within, `${actual} is not ${expected}`);

describe('statistics of a window', () => {
  it('have the textbook values for a sine', () => {
    const whole = sine(1000, 10);
    near(rms(whole), 1 + Math.log10(1 / 2) / 3);
    near(kurtosis(whole), Math.log2(1.5 / 3) / 3);
    near(crest(whole), Math.log2(Math.SQRT2 / 3) / 2, 2e-3);
    near(peakToPeak(whole), 1, 1e-2);
    near(mean(whole), 0);
  });

  it('take no notice of an offset, but for the mean', () => {
    const plain = sine(200, 7, 0.3);
    const lifted = plain.map((value) => value + 0.5);
    for (const statistic of [rms, kurtosis, crest, peakToPeak])
      near(statistic(lifted), statistic(plain), 1e-9);
    near(mean(lifted), 0.5);
  });

  it('rise with shocks where the mean square stays', () => {
    const shocks = wave(1000, (index) => (index % 100 === 0 ? 1 : 0));
    const smooth = sine(1000, 10, rmsOf(shocks) * Math.SQRT2);
    near(rms(shocks), rms(smooth), 1e-3);
    assert.ok(kurtosis(shocks) > 0.9 && kurtosis(smooth) < 0);
    assert.ok(crest(shocks) > 0.7 && crest(smooth) < 0);
  });

  it('are defined for a constant window, and those of noise too faint to be told', () => {
    for (const value of [-1, 0, 0.123456789, 1]) {
      const flat = new Float64Array(64).fill(value);
      near(rms(flat), -1, 1e-9);
      near(kurtosis(flat), 0, 1e-9);
      near(crest(flat), 0, 1e-9);
      assert.equal(peakToPeak(flat), -1);
      const faint = flat.map((level, index) => level + (index === 5 ? 1e-9 : 0));
      near(kurtosis(faint), 0);
      near(crest(faint), 0);
      for (const energy of bandEnergies(flat, 4)) near(energy, -1, 1e-9);
    }
  });

  it('stay within [-1, 1], whatever the window', () => {
    const any = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 2, maxLength: 70 });
    fc.assert(
      fc.property(any, (list) => {
        const values = Float64Array.from(list);
        const made = [mean, rms, kurtosis, crest, peakToPeak].map((statistic) => statistic(values));
        for (const value of [...made, ...bandEnergies(values, 1)]) assert.ok(value >= -1 && value <= 1);
      }),
    );
  });
});

describe('band energies', () => {
  it('find a tone in its band', () => {
    for (const [cycles, band] of [
      [20, 0],
      [100, 1],
      [150, 2],
      [240, 3],
    ] as const) {
      const energies = bandEnergies(sine(512, cycles), 4);
      near(energies[band]!, 1 + Math.log10(1 / 2) / 3, 1e-2);
      energies.forEach((energy, index) => {
        if (index !== band) assert.ok(energy < -0.5, `${cycles}: ${energies}`);
      });
    }
  });

  it('sum up to the mean square of what the window weighs, also where zeros fill up', () => {
    for (const length of [64, 100, 1000]) {
      const values = wave(length, (index) => Math.sin(index ** 1.5) / 2);
      const power = [...bandEnergies(values, 8)].reduce(
        (sum, level) => sum + 10 ** (3 * (level - 1)) - 1e-6,
        0,
      );
      let weighed = 0;
      let weight = 0;
      const middle = mean(values);
      values.forEach((value, index) => {
        const hann = 0.5 - 0.5 * Math.cos((2 * Math.PI * (index + 0.5)) / length);
        weighed += (hann * (value - middle)) ** 2;
        weight += hann ** 2;
      });
      near(power, weighed / weight, 1e-9);
    }
  });

  it('are those of the transform written down', () => {
    const values = wave(30, (index) => Math.cos(index * index));
    const middle = mean(values);
    const hann = wave(30, (index) => Math.sin((Math.PI * (index + 0.5)) / 30) ** 2);
    const weight = hann.reduce((sum, value) => sum + value ** 2, 0);
    const lines = Array.from({ length: 17 }, (_, line) => {
      let real = 0;
      let imaginary = 0;
      values.forEach((value, index) => {
        real += hann[index]! * (value - middle) * Math.cos((2 * Math.PI * line * index) / 32);
        imaginary += hann[index]! * (value - middle) * Math.sin((2 * Math.PI * line * index) / 32);
      });
      return ((line === 0 || line === 16 ? 1 : 2) * (real ** 2 + imaginary ** 2)) / 32 / weight;
    });
    const bands = [lines.slice(0, 8), lines.slice(8)].map((list) =>
      list.reduce((sum, value) => sum + value, 0),
    );
    bandEnergies(values, 2).forEach((energy, band) => {
      near(energy, 1 + Math.log10(bands[band]! + 1e-6) / 3, 1e-9);
    });
  });
});

function rmsOf(values: Float64Array): number {
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / values.length);
}
