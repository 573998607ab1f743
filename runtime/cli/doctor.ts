import { createRequire } from 'node:module';
import { describeBackend } from '../services/training/backend.ts';
import { projectVersion } from './project.ts';
import { defineCommand } from './terminal/command.ts';
import { printJson } from './terminal/io.ts';
import { table } from './terminal/layout.ts';

/** Parts with compiled code; what is missing is no fault until somebody asks for it. */
const PARTS = [
  { name: 'level', purpose: 'the journal', required: true },
  { name: 'i2c-bus', purpose: 'sensors on an I2C bus', required: false },
  { name: 'onoff', purpose: 'GPIO lines', required: false },
  { name: 'johnny-five', purpose: 'boards behind a serial line', required: false },
] as const;

export const doctor = defineCommand({
  name: 'doctor',
  summary: 'say which parts this machine has: Node, native packages, the backend that trains',
  options: {},
  async run({ json }, io) {
    const require = createRequire(import.meta.url);
    const parts = PARTS.map(({ name, purpose, required }) => ({
      name,
      purpose,
      required,
      trouble: tryLoad(() => require(name)),
    }));
    const backend = await describeBackend();
    const healthy =
      backend.name !== 'none' && parts.every((part) => !part.required || part.trouble === undefined);
    if (json) {
      printJson(io, {
        version: projectVersion(),
        node: process.version,
        arch: process.arch,
        parts,
        backend,
        healthy,
      });
      return healthy ? 0 : 1;
    }
    const rows = [
      ['kosmos', projectVersion()],
      ['node', `${process.version} on ${process.platform} ${process.arch}`],
      ['training', `${backend.name}: ${backend.detail}`],
      ...parts.map((part) => [
        part.name,
        part.trouble === undefined
          ? `there (${part.purpose})`
          : `absent, so no ${part.purpose}: ${part.trouble}`,
      ]),
    ];
    io.stdout.write(`${table([{ title: '' }, { title: '' }], rows).join('\n')}\n`);
    return healthy ? 0 : 1;
  },
});

function tryLoad(load: () => unknown): string | undefined {
  try {
    load();
    return undefined;
  } catch (error) {
    return (error as Error).message.split('\n')[0] ?? 'it does not load';
  }
}
