import { gatewaySettings } from '../settings.ts';
import { documentSettings } from '../state/settings/document.ts';
import { loadSettings } from './settings-file.ts';
import { defineCommand } from './terminal/command.ts';
import { printJson } from './terminal/io.ts';

export const configCheck = defineCommand({
  name: 'config check',
  summary: 'judge a configuration: every fault at once, with file and line',
  arguments: [{ name: 'FILE', about: 'the gateway’s configuration' }],
  options: {},
  async run({ positionals, json }, io) {
    const settings = await loadSettings(positionals[0]!);
    if (json) printJson(io, { ok: true, gateway: settings.gateway, machines: settings.machine.length });
    else io.stdout.write(`${positionals[0]} is in order: ${settings.machine.length} machines\n`);
    return 0;
  },
});

export const configDoc = defineCommand({
  name: 'config doc',
  summary: 'print every key of a configuration with its default and what is allowed',
  options: {},
  async run({ json }, io) {
    const text = documentSettings(gatewaySettings, { title: 'The configuration of one gateway' });
    if (json) printJson(io, { toml: text });
    else io.stdout.write(text);
    return 0;
  },
});
