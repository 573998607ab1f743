import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Episode, labelledWindows } from '../../../runtime/core/learning/episodes.ts';
import type { DataSheet } from '../../../runtime/core/learning/features.ts';

const DATA = new URL('../../../../shared/data/vibration/', import.meta.url);
const skip = existsSync(DATA) ? false : 'the recordings of bearings are not in ../shared/data';

/** An accelerometer that reads up to 5 g at the drive end. */
const sheet: DataSheet = {
  channels: [{ name: 'acceleration', unit: 'gn', low: -5, high: 5, leastWidth: 0.1 }],
};
const BANDS = 16;
const LENGTH = 1024;

function recording(file: string): Float32Array {
  const bytes = readFileSync(new URL(file, DATA));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

/** Band energies of windows that do not overlap, `normal` over its whole strength to that of the others. */
function windowsOf(values: Float32Array, features: readonly ('bands' | 'rms' | 'kurtosis' | 'crest')[]) {
  const spec = { window: LENGTH, minimum: LENGTH, stride: LENGTH, slopeScale: 1, cap: 1, bands: BANDS };
  const rows = Array.from(values, (value) => [value]);
  const run: Episode = { machine: 'bearing', rows, end: 'running', ended: 0 };
  const made = labelledWindows([run], sheet, { ...spec, label: 'none', features });
  const width = made.features.length / made.count;
  return Array.from({ length: made.count }, (_, index) => [
    ...made.features.slice(index * width, (index + 1) * width),
  ]);
}

/** What lies in the middle of the windows, feature by feature. */
function middle(windows: readonly (readonly number[])[]): number[] {
  return windows[0]!.map(
    (_, feature) => windows.reduce((sum, window) => sum + window[feature]!, 0) / windows.length,
  );
}

function distance(one: readonly number[], other: readonly number[]): number {
  return Math.hypot(...one.map((value, index) => value - other[index]!));
}

test('band energies tell faulty bearings from a sound one, window by window', { skip }, () => {
  const files = readdirSync(DATA).filter((file) => file.endsWith('.f32'));
  const faulty = files.filter((file) => !file.includes('Normal'));
  assert.ok(faulty.length >= 4);
  const sound = windowsOf(recording('1797_Normal.f32'), ['bands']);
  // The halves of the sound one: what is learned of the first has to hold for the second.
  const [known, unseen] = [sound.slice(0, 29), sound.slice(29)];
  const centre = middle(known);
  const farthestSound = Math.max(...[...known, ...unseen].map((window) => distance(window, centre)));
  for (const file of faulty) {
    const windows = windowsOf(recording(file), ['bands']);
    assert.equal(windows.length, 58);
    const nearest = Math.min(...windows.map((window) => distance(window, centre)));
    assert.ok(nearest > 2 * farthestSound, `${file}: ${nearest} against ${farthestSound}`);
  }
});

test('by the shape of the spectrum too, not by its strength alone', { skip }, () => {
  const shapes = (file: string) =>
    windowsOf(recording(file), ['bands']).map((window) => {
      const mean = window.reduce((sum, value) => sum + value, 0) / BANDS;
      return window.map((value) => value - mean);
    });
  const sound = shapes('1797_Normal.f32');
  const centre = middle(sound);
  const farthestSound = Math.max(...sound.map((window) => distance(window, centre)));
  for (const file of ['1797_IR_7_DE12.f32', '1797_B_7_DE12.f32', '1797_ORat6_7_DE12.f32']) {
    const nearest = Math.min(...shapes(file).map((window) => distance(window, centre)));
    assert.ok(nearest > farthestSound, `${file}: ${nearest} against ${farthestSound}`);
  }
});

test('shocks of a damaged race show in kurtosis and crest', { skip }, () => {
  const [kurtosis, crest] = middle(windowsOf(recording('1797_Normal.f32'), ['kurtosis', 'crest']));
  for (const file of ['1797_IR_7_DE12.f32', '1797_ORat6_7_DE12.f32']) {
    const [more, higher] = middle(windowsOf(recording(file), ['kurtosis', 'crest']));
    assert.ok(more! > kurtosis! + 0.1 && higher! > crest! + 0.1, `${file}: ${more}, ${higher}`);
  }
});
