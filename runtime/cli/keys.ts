/** A gateway's keys: shown, rotated, revoked, and what others say of theirs taken in. */
import { resolve } from 'node:path';
import { toBase64, toHex } from '../core/encoding/base64.ts';
import { keyIdOf } from '../core/encoding/cose.ts';
import { askDaemon, isListening } from '../services/control/client.ts';
import { readBounded } from '../state/files.ts';
import { everyKey, isoTime } from '../state/provenance/judge.ts';
import { loadGatewayKeys, loadKey } from '../state/provenance/keys.ts';
import { type KeyName, keyPath, PURPOSES, REVOCABLE } from '../state/provenance/purposes.ts';
import { openRevocation, revoke } from '../state/provenance/revocation.ts';
import { rosterOf } from '../state/provenance/roster.ts';
import { rotateKeys } from '../state/provenance/rotate.ts';
import { settleRotation } from '../state/provenance/rotation.ts';
import {
  appendStatement,
  parseStatements,
  readStatements,
  statementsPath,
} from '../state/provenance/statements-file.ts';
import { agreementIn, type OwnGateway, ownGateway, updateCard } from './keys/own.ts';
import { type KeyRow, keyRows, keyTable } from './keys/view.ts';
import { loadAgreement, socketIn } from './settings-file.ts';
import { socketOf } from './status.ts';
import { defineCommand } from './terminal/command.ts';
import { printJson } from './terminal/io.ts';
import { problem } from './terminal/problem.ts';

const MAX_FILE = 4 * 1024 * 1024;
const USAGE = 2;

const directoryOption = {
  kind: 'text',
  value: 'DIR',
  required: true,
  about: 'the gateway’s directory',
} as const;
const agreementOption = {
  kind: 'text',
  value: 'FILE',
  about: 'the agreement; DIR/agreement.toml when absent',
} as const;
const socketOption = {
  kind: 'text',
  value: 'FILE',
  about: 'the gateway’s configuration, where its control socket does not lie in DIR',
} as const;
const whichOptions = {
  member: { kind: 'text', value: 'NAME', about: 'the company; as in DIR/card.json when absent' },
  name: { kind: 'text', value: 'NAME', about: 'the gateway; as in DIR/card.json when absent' },
  agreement: agreementOption,
} as const;

/** The socket of the daemon that runs in a directory, or undefined when none does. */
async function daemonAt(directory: string, config: string | undefined): Promise<string | undefined> {
  const path = config === undefined ? socketIn(directory) : await socketOf({ config });
  return (await isListening(path)) ? path : undefined;
}

export const keysList = defineCommand({
  name: 'keys list',
  summary: 'show which keys gateways have and had',
  about:
    'Of a gateway that runs: what its daemon knows of every gateway. Else what lies in its directory. Only public ' +
    'keys are shown; the key column is the identifier that stands in signed entries.',
  options: { directory: directoryOption, config: socketOption, ...whichOptions },
  examples: ['keys list --directory /var/lib/kosmos'],
  async run({ options, json }, io) {
    const directory = resolve(options.directory);
    const socket = await daemonAt(directory, options.config);
    const rows = socket
      ? ((await askDaemon(socket, 'keys')) as { readonly keys: readonly KeyRow[] }).keys
      : await ownGateway(directory, options).then(({ enrolment, roster }) => keyRows(enrolment, roster));
    const shown = options.name === undefined ? rows : rows.filter(({ gateway }) => gateway === options.name);
    if (json) printJson(io, { keys: shown });
    else io.stdout.write(`${keyTable(shown).join('\n')}\n`);
    return 0;
  },
});

export const keysRotate = defineCommand({
  name: 'keys rotate',
  summary: 'give a gateway that does not run new keys',
  about:
    'The identity key endorses the new keys; the old secrets are overwritten and removed. What the old keys signed ' +
    'stays good: to take that away too, revoke them. Peers learn of the new keys when the gateway runs again. A ' +
    'rotation that is cut off is finished or undone at the next start.',
  options: {
    directory: directoryOption,
    config: socketOption,
    purpose: {
      kind: 'text',
      value: 'PURPOSE',
      choices: PURPOSES,
      many: true,
      about: 'which key; may be given more than once; sample when absent',
    },
    serial: {
      kind: 'number',
      value: 'N',
      whole: true,
      least: 1,
      about: 'number of the endorsement: for a directory that was restored, one above what its peers know',
    },
    ...whichOptions,
  },
  examples: ['keys rotate --directory /var/lib/kosmos --purpose sample --purpose tls'],
  async run({ options, json }, io) {
    const directory = resolve(options.directory);
    if (await daemonAt(directory, options.config)) {
      throw problem('its daemon is running', { where: directory, todo: 'stop it first' });
    }
    await settleRotation(directory);
    const own = await ownGateway(directory, options);
    const keys = await loadGatewayKeys(directory);
    assertIdentity(own, keys.identity.publicKey, directory);
    const { serial: before } = own.roster.current(own.name);
    const serial = options.serial ?? before + 1;
    if (serial <= before) {
      throw problem(`endorsement ${before} is there already: --serial must be above it`, { exitCode: USAGE });
    }
    const given = options.purpose ?? [];
    const purposes = PURPOSES.filter((purpose) =>
      given.length > 0 ? given.includes(purpose) : purpose === 'sample',
    );
    const statement = await rotateKeys(directory, {
      member: own.member,
      gateway: own.name,
      purposes,
      serial,
      time: Date.now(),
    });
    await updateCard(directory, statement);
    if (json) printJson(io, { gateway: own.name, serial, purposes, statement: toBase64(statement) });
    else {
      io.stdout.write(
        `${own.name} of ${own.member} has new keys for ${purposes.join(', ')}: endorsement ${serial}\n`,
      );
      io.stdout.write(
        `start its daemon, which tells the peers; ${statementsPath(directory)} is for any it cannot reach\n`,
      );
    }
    return 0;
  },
});

function assertIdentity(own: OwnGateway, identity: Uint8Array, directory: string): void {
  const named = own.enrolment.gateways.find(({ name }) => name === own.name)!.identity;
  if (Buffer.compare(named, identity) === 0) return;
  throw problem(`the identity key is not that of ${own.name} of ${own.member}`, {
    where: keyPath(directory, 'identity'),
  });
}

export const keysRevoke = defineCommand({
  name: 'keys revoke',
  summary: 'say that a key counts no more',
  about:
    'Signed with the gateway’s identity key in DIR, or with the company’s own (--member-key) for a gateway that is ' +
    'lost or stolen: then its identity is revoked, and every key with it, unless --purpose says otherwise. What the ' +
    'key signed still counts when a quorum of members had cosigned it by --as-of. The statement goes to any member: ' +
    'kosmos keys accept FILE.',
  options: {
    directory: {
      ...directoryOption,
      about: 'the gateway’s directory, or that of another gateway of the company',
    },
    config: socketOption,
    purpose: {
      kind: 'text',
      value: 'PURPOSE',
      choices: REVOCABLE,
      many: true,
      about: 'which key; may be given more than once',
    },
    key: {
      kind: 'text',
      value: 'ID',
      about: 'the key’s identifier, as kosmos keys list shows it, where it is not the present one',
    },
    'member-key': { kind: 'text', value: 'FILE', about: 'sign with the company’s own key' },
    'as-of': {
      kind: 'text',
      value: 'TIME',
      about: 'from when on it is in wrong hands (ISO 8601); now when absent',
    },
    reason: { kind: 'text', value: 'TEXT', default: '', about: 'why; every member can read it' },
    out: { kind: 'text', value: 'FILE', about: 'where the statement goes besides DIR' },
    ...whichOptions,
  },
  examples: [
    'keys revoke --directory /var/lib/kosmos --purpose sample --key 0123456789abcdef --reason "disk was stolen"',
    'keys revoke --directory /var/lib/kosmos --name hall-2 --member-key acme.pem --as-of 2026-03-01T06:00Z --out hall-2.revoked',
  ],
  async run({ options, json }, io) {
    const directory = resolve(options.directory);
    const own = await ownGateway(directory, options);
    const memberKey = options['member-key'];
    const given = options.purpose ?? [];
    if (given.length === 0 && memberKey === undefined) {
      throw problem('which key?', { todo: `give --purpose ${REVOCABLE.join('|')}`, exitCode: USAGE });
    }
    const purposes: readonly KeyName[] =
      given.length === 0 ? ['identity'] : REVOCABLE.filter((purpose) => given.includes(purpose));
    if (options.key !== undefined && purposes.length !== 1)
      throw problem('--key goes with one --purpose', { exitCode: USAGE });
    const time = options['as-of'] === undefined ? Date.now() : Date.parse(options['as-of']);
    if (!Number.isSafeInteger(time) || time < 0) {
      throw problem(`--as-of ${options['as-of']} is no time: write it as 2026-03-01T06:00Z`, {
        exitCode: USAGE,
      });
    }
    const signer = await loadKey(memberKey ?? keyPath(directory, 'identity'));
    const { identity } = own.enrolment.gateways.find(({ name }) => name === own.name)!;
    const { publicKey } = own.enrolment.members.find(({ name }) => name === own.member)!;
    const { member, name: gateway } = own;
    const statements = purposes.map((purpose) => {
      const key = purpose === 'identity' ? identity : keyToRevoke(own, purpose, options.key);
      const statement = revoke(signer, { member, gateway, purpose, key, time, reason: options.reason });
      // What no member would take in must not be handed out.
      openRevocation(statement, { identity, memberKey: publicKey });
      return { purpose, id: toHex(keyIdOf(key)), statement };
    });
    for (const { statement } of statements) {
      await appendStatement(statementsPath(directory), statement);
      if (options.out !== undefined) await appendStatement(resolve(options.out), statement);
    }
    const socket = await daemonAt(directory, options.config);
    if (socket) {
      for (const { statement } of statements)
        await askDaemon(socket, 'statement', { statement: toBase64(statement) });
    }
    const revoked = statements.map(({ purpose, id, statement }) => ({
      purpose,
      id,
      statement: toBase64(statement),
    }));
    if (json) printJson(io, { gateway, as_of: isoTime(time), told: socket !== undefined, revoked });
    else {
      for (const { purpose, id } of revoked)
        io.stdout.write(`${purpose} key ${id} of ${gateway} is revoked as of ${isoTime(time)}\n`);
      io.stdout.write(
        socket
          ? 'the daemon has it and tells the peers\n'
          : `the daemon tells the peers when it runs; any member takes it in with: kosmos keys accept ${options.out ?? statementsPath(directory)}\n`,
      );
      io.stdout.write('a gateway whose present key is revoked needs a new one: kosmos keys rotate\n');
    }
    return 0;
  },
});

function keyToRevoke(
  own: OwnGateway,
  purpose: Exclude<KeyName, 'identity'>,
  id: string | undefined,
): Uint8Array {
  const keys = everyKey(own.roster.keys(own.name), purpose);
  const found = id === undefined ? keys[0] : keys.find((key) => toHex(keyIdOf(key)) === id);
  if (found) return found;
  throw problem(`${own.name} has and had no ${purpose} key ${id}`, {
    todo: 'kosmos keys list shows those it has',
    exitCode: USAGE,
  });
}

export const keysAccept = defineCommand({
  name: 'keys accept',
  summary: 'take in what a gateway or its company says of its keys',
  about:
    'FILE holds statements as kosmos keys rotate and kosmos keys revoke write them. Each is verified against the ' +
    'agreement. A daemon that runs takes it in at once; else it does when it starts.',
  arguments: [{ name: 'FILE', about: 'statements, one a line' }],
  options: { directory: directoryOption, config: socketOption, agreement: agreementOption },
  examples: ['keys accept hall-2.revoked --directory /var/lib/kosmos'],
  async run({ options, positionals, json }, io) {
    const directory = resolve(options.directory);
    const file = positionals[0]!;
    const statements = parse(await readBounded(file, MAX_FILE), file);
    const socket = await daemonAt(directory, options.config);
    const add = socket ? addThrough(socket) : await addTo(directory, options.agreement);
    const counts = { new: 0, known: 0 };
    for (const [index, statement] of statements.entries()) {
      const outcome = await add(statement).catch((error: Error) => {
        throw problem(error.message, { where: `${file}, statement ${index + 1}`, cause: error });
      });
      counts[outcome] += 1;
    }
    if (json) printJson(io, { ...counts, told: socket !== undefined });
    else io.stdout.write(`${counts.new} taken in, ${counts.known} known already\n`);
    return 0;
  },
});

type Add = (statement: Uint8Array) => Promise<'new' | 'known'>;

function addThrough(socket: string): Add {
  return async (statement) => {
    const answer = await askDaemon(socket, 'statement', { statement: toBase64(statement) });
    return (answer as { readonly outcome: 'new' | 'known' }).outcome;
  };
}

/** Verifies against the agreement, and stores in the directory for the daemon. */
async function addTo(directory: string, agreement: string | undefined): Promise<Add> {
  const path = await agreementIn(directory, agreement);
  if (path === undefined)
    throw problem('there is no agreement', {
      where: directory,
      todo: 'give --agreement FILE',
      exitCode: USAGE,
    });
  const file = statementsPath(directory);
  const roster = rosterOf(await loadAgreement(path), await readStatements(file));
  return async (statement) => {
    const outcome = await roster.add(statement);
    if (outcome === 'new') await appendStatement(file, statement);
    return outcome;
  };
}

function parse(text: string, file: string): readonly Uint8Array[] {
  try {
    const statements = parseStatements(text, file);
    if (statements.length > 0) return statements;
  } catch (error) {
    throw problem((error as Error).message, { exitCode: USAGE });
  }
  throw problem('it holds no statement', { where: file, exitCode: USAGE });
}
