/**
 * How the constants of the simulated machines' preset were chosen: cross-validation on simulated episodes.
 *
 *   node --import tsx scripts/tune/simulated.ts [--unit window|episode|none] [--epsilon 8] [--gateways 3]
 *     [--episodes 12 (of each gateway)] [--repeat 1] [--search]
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { simulateEpisodes } from '../../drivers/simulated/episodes.ts';
import type { PrivacyUnit } from '../../runtime/core/learning/job.ts';
import { simulatedPreset } from '../../runtime/core/learning/presets.ts';
import { startBackend } from '../../runtime/services/training/backend.ts';
import { readDataSheet } from './report.ts';
import { candidatesAround, crossValidate, FOLDS } from './search.ts';

const { values } = parseArgs({
  options: {
    unit: { type: 'string', default: 'window' },
    epsilon: { type: 'string', default: '8' },
    gateways: { type: 'string', default: '3' },
    episodes: { type: 'string', default: '12' },
    repeat: { type: 'string', default: '1' },
    search: { type: 'boolean', default: false },
  },
});

const gateways = Number(values.gateways);
// A fold is held out: what is left is what the gateways have.
const count = Math.ceil((gateways * Number(values.episodes) * FOLDS) / (FOLDS - 1));
const sheet = await readDataSheet(
  join(import.meta.dirname, '../../config/datasheets/simulated-machine.toml'),
);
await startBackend();

for (let seed = 0; seed < Number(values.repeat); seed += 1) {
  const options = {
    preset: simulatedPreset,
    unit: values.unit as PrivacyUnit,
    sheet,
    engines: simulateEpisodes({ seed: 7000 + seed, count }),
    gateways,
    budget: { epsilon: Number(values.epsilon), delta: 1e-5 },
    seed,
  };
  const candidates = candidatesAround(options.preset, options.unit).slice(0, values.search ? undefined : 1);
  for (const candidate of candidates) {
    console.log(`${crossValidate(options, candidate).toFixed(2)}  ${candidate.name}`);
  }
}
