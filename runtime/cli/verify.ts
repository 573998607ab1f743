import { join, resolve } from 'node:path';
import { z } from 'zod';
import { isListening } from '../services/control/client.ts';
import { exists } from '../state/files.ts';
import { loadAgreement, readJson, socketIn } from './settings-file.ts';
import { defineCommand } from './terminal/command.ts';
import { count } from './terminal/human.ts';
import { printJson } from './terminal/io.ts';
import { problem } from './terminal/problem.ts';
import { createScreen } from './terminal/screen.ts';
import { verifyDirectory } from './verify/directory.ts';

const cardSchema = z.object({ name: z.string() });

export const verify = defineCommand({
  name: 'verify',
  summary: 'check a gateway’s directory offline: signatures, sequences, tree, checkpoints, cosignatures',
  about: 'Exit code 0 when all of it holds; 1 and the first broken thing when not.',
  arguments: [{ name: 'DIR', about: 'the gateway’s directory; its daemon must not be running' }],
  options: {
    agreement: { kind: 'text', value: 'FILE', about: 'the agreement; DIR/agreement.toml when absent' },
    gateway: { kind: 'text', value: 'NAME', about: 'the gateway; as in DIR/card.json when absent' },
  },
  examples: ['verify /var/lib/kosmos', 'verify backup --agreement agreement.toml --gateway hall-1 --json'],
  async run({ options, positionals, json }, io) {
    const directory = resolve(positionals[0]!);
    if (!(await exists(directory))) throw problem('there is no such directory', { where: directory });
    if (await isListening(socketIn(directory))) {
      throw problem('its daemon is running', { where: directory, todo: 'stop it first, or verify a copy' });
    }
    const agreement = await loadAgreement(options.agreement ?? join(directory, 'agreement.toml'));
    const gateway = options.gateway ?? (await nameIn(directory));
    const screen = createScreen(io.stderr);
    const report = await verifyDirectory(directory, agreement, gateway, (done, of) => {
      const line = `checking block ${count(done)} of ${count(of)}`;
      screen.draw({ lines: [line], summary: line });
    }).finally(() => screen.close());
    if (json) printJson(io, { ok: true, ...report });
    else {
      io.stdout.write(
        `${gateway} holds: ${count(report.entries)} entries (${count(report.samples)} samples) in ${count(report.blocks)} blocks, ` +
          `${count(report.signatures)} signatures, ${count(report.checkpoints)} checkpoints with ${count(report.cosignatures)} cosignatures, final up to ${count(report.finalSize)}\n`,
      );
    }
    return 0;
  },
});

async function nameIn(directory: string): Promise<string> {
  const path = join(directory, 'card.json');
  if (!(await exists(path)))
    throw problem('which gateway is this?', { where: directory, todo: 'give --gateway NAME', exitCode: 2 });
  const judged = cardSchema.safeParse(await readJson(path));
  if (!judged.success) throw problem('it names no gateway', { where: path, todo: 'give --gateway NAME' });
  return judged.data.name;
}
