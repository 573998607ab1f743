import { join, resolve } from 'node:path';
import { toBase64 } from '../core/encoding/base64.ts';
import { exists, replaceFile } from '../state/files.ts';
import { createKey, loadKey } from '../state/provenance/keys.ts';
import { parseHostPort } from '../state/settings/units.ts';
import { cardOf, createGateway } from './setup/gateway.ts';
import { defineCommand } from './terminal/command.ts';
import { printJson } from './terminal/io.ts';
import { problem } from './terminal/problem.ts';

/** The member's key: loaded, or made when it is not there. */
export async function memberKey(path: string) {
  return (await exists(path)) ? loadKey(path) : createKey(path);
}

export const init = defineCommand({
  name: 'init',
  summary: 'make a gateway: its directory, its keys, and the card that goes into an agreement',
  about:
    'Keys are files of mode 0600 and never leave the directory. The card (card.json) holds public keys only; ' +
    'hand it to whoever drafts the agreement.',
  options: {
    directory: { kind: 'text', value: 'DIR', required: true, about: 'where keys and journal are kept' },
    member: { kind: 'text', value: 'NAME', required: true, about: 'the company' },
    name: { kind: 'text', value: 'NAME', required: true, about: 'the gateway' },
    address: {
      kind: 'text',
      value: 'HOST:PORT',
      about: 'where its peers reach it; leave it out when it may only dial out',
    },
    'member-key': {
      kind: 'text',
      value: 'FILE',
      required: true,
      about: 'the company’s own key; made when there is none',
    },
  },
  examples: [
    'init --directory /var/lib/kosmos --member acme --name hall-1 --address gw.acme.example:7400 --member-key acme.pem',
  ],
  async run({ options, json }, io) {
    const directory = resolve(options.directory);
    if (options.address !== undefined && !parseHostPort(options.address))
      throw problem(`${options.address} is not host:port`, { exitCode: 2 });
    await createGateway(directory, options.member, options.name);
    const key = await memberKey(options['member-key']);
    const card = {
      ...(await cardOf(directory, options.member, options.name, options.address)),
      memberKey: toBase64(key.publicKey),
    };
    const path = join(directory, 'card.json');
    await replaceFile(path, `${JSON.stringify(card, null, 2)}\n`);
    if (json) printJson(io, { directory, card });
    else {
      io.stdout.write(`gateway ${card.name} of ${card.member} is in ${directory}\n`);
      io.stdout.write(`its card for the agreement: ${path}\n`);
    }
    return 0;
  },
});
