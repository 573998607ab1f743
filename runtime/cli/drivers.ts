import { catalogue } from '../../drivers/catalogue.ts';
import { documentSettings } from '../state/settings/document.ts';
import { defineCommand } from './terminal/command.ts';
import { printJson } from './terminal/io.ts';
import { problem } from './terminal/problem.ts';

export const drivers = defineCommand({
  name: 'drivers',
  summary: 'list the drivers, or print what one of them wants under settings',
  arguments: [{ name: 'NAME', about: 'a driver', optional: true }],
  options: {},
  async run({ positionals, json }, io) {
    const [name] = positionals;
    if (name === undefined) {
      if (json) printJson(io, { drivers: Object.keys(catalogue) });
      else io.stdout.write(`${Object.keys(catalogue).join('\n')}\n`);
      return 0;
    }
    const driver = Object.hasOwn(catalogue, name) ? catalogue[name] : undefined;
    if (!driver)
      throw problem(`no driver is called ${name}`, {
        todo: `there are ${Object.keys(catalogue).join(', ')}`,
        exitCode: 2,
      });
    const text = documentSettings(driver.settings, { title: `Settings of the driver ${name}` });
    if (json) printJson(io, { driver: name, toml: text });
    else io.stdout.write(text);
    return 0;
  },
});
