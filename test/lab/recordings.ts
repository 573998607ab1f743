/** Recordings in the form of NASA's C-MAPSS files, made here: engines that drift towards their failure. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createRandom } from '../../drivers/simulated/random.ts';

/** Sensors in the order of the files, at the start of a life and by how much they move until its end. */
const SENSORS: readonly (readonly [start: number, drift: number])[] = [
  [518.67, 0],
  [642, 1.6],
  [1585, 18],
  [1400, 30],
  [14.62, 0],
  [21.61, 0],
  [554, -2.5],
  [2388, 0.2],
  [9050, 20],
  [1.3, 0],
  [47.2, 1],
  [522, -2],
  [2388, 0.2],
  [8140, 15],
  [8.4, 0.12],
  [0.03, 0],
  [392, 4],
  [2388, 0],
  [100, 0],
  [39, -0.6],
  [23.4, -0.4],
];

const SHORTEST = 60;

/** Writes train_, test_ and RUL_FD001.txt with `engines` each into `directory`; equal numbers make equal files. */
export async function writeRecordings(directory: string, engines: number): Promise<void> {
  await mkdir(directory, { recursive: true });
  const lives = Array.from({ length: engines }, (_, index) => SHORTEST + ((index * 37) % 40));
  const rows = (length: (life: number) => number) =>
    lives.flatMap((life, index) => {
      const random = createRandom(index + 1, life);
      return Array.from({ length: length(life) }, (_, cycle) =>
        row(index + 1, cycle + 1, (cycle / life) ** 2, random.normal),
      );
    });
  await writeFile(join(directory, 'train_FD001.txt'), `${rows((life) => life).join('\n')}\n`);
  await writeFile(join(directory, 'test_FD001.txt'), `${rows((life) => life - 20).join('\n')}\n`);
  await writeFile(join(directory, 'RUL_FD001.txt'), `${lives.map(() => 20).join('\n')}\n`);
}

function row(engine: number, cycle: number, wear: number, noise: () => number): string {
  const values = SENSORS.map(([start, drift]) => (start + drift * (wear + 0.1 * noise())).toFixed(4));
  return [engine, cycle, '0.0010', '0.0002', '100.0', ...values].join(' ');
}
