import { createTelemetry } from '../../../runtime/services/telemetry/telemetry.ts';
import { memoryJournal, settingsOf } from './helpers.ts';

/** A process to be killed: publishes samples 0 to 99 to the broker whose port is its argument, and says how far its cursor is. */
const journal = memoryJournal(100);
const telemetry = createTelemetry({
  consortium: 'forge',
  gateway: 'north',
  settings: settingsOf({ url: `mqtt://127.0.0.1:${process.argv[2]}` }),
  samples: journal,
  log: (level, message) => process.stderr.write(`${level} ${message}\n`),
});
telemetry.start();
setInterval(() => process.stdout.write(`${journal.cursor()}\n`), 20);
