import { askDaemon } from '../services/control/client.ts';
import { MAINTENANCE_TYPES } from '../state/maintenance/entry.ts';
import { daemonOptions, socketOf } from './status.ts';
import { defineCommand } from './terminal/command.ts';
import { printJson } from './terminal/io.ts';

export const maintenanceAdd = defineCommand({
  name: 'maintenance add',
  summary: 'enter a fault, a failure or maintenance of a machine into the log',
  about:
    'The log gets a salted digest of each field; machine and note stay on the gateway until somebody shows them.',
  options: {
    ...daemonOptions,
    machine: { kind: 'text', value: 'ID', required: true, about: 'the machine' },
    type: { kind: 'text', value: 'TYPE', required: true, choices: MAINTENANCE_TYPES, about: 'what happened' },
    note: { kind: 'text', value: 'TEXT', default: '', about: 'what was seen or done' },
  },
  examples: [
    'maintenance add --directory /var/lib/kosmos --machine press-1 --type maintenance --note "bearing replaced"',
  ],
  async run({ options, json }, io) {
    const { machine, type, note } = options;
    const answer = (await askDaemon(await socketOf(options), 'maintenance', { machine, type, note })) as {
      digest: string;
    };
    if (json) printJson(io, answer);
    else io.stdout.write(`${type} of ${machine} is in the log: ${answer.digest}\n`);
    return 0;
  },
});
