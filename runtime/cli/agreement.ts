/** The agreement from draft to force: every command works on the document and on the file of signatures beside it. */
import { resolve } from 'node:path';
import { z } from 'zod';
import { toHex } from '../core/encoding/base64.ts';
import { cmapssPreset, simulatedPreset } from '../core/learning/presets.ts';
import { readAgreement, signAgreement, unsignedBy } from '../state/agreement/agreement.ts';
import { dataSheetSchema } from '../state/agreement/schema.ts';
import { exists, readBounded, replaceFile } from '../state/files.ts';
import { loadKey } from '../state/provenance/keys.ts';
import { readSettingsFile } from '../state/settings/read.ts';
import { projectFile } from './project.ts';
import { loadUnsigned, readJson, settingsProblem, signaturesPath } from './settings-file.ts';
import { draftAgreement, type MemberCard } from './setup/draft.ts';
import { draftTerms } from './setup/terms.ts';
import { defineCommand } from './terminal/command.ts';
import { printJson } from './terminal/io.ts';
import { problem } from './terminal/problem.ts';

const MAX_FILE = 16 * 1024 * 1024;

const cardSchema = z.object({
  member: z.string(),
  name: z.string(),
  address: z.string().optional(),
  identity: z.string(),
  endorsement: z.string(),
  memberKey: z.string(),
});
type Card = z.output<typeof cardSchema>;

const PRESETS = { 'simulated-machine': simulatedPreset, cmapss: cmapssPreset } as const;

async function readCard(path: string): Promise<Card> {
  const judged = cardSchema.safeParse(await readJson(path));
  if (!judged.success)
    throw problem('it is not a card as kosmos init writes it', { where: path, exitCode: 2 });
  return judged.data;
}

/** Cards of one company under one name; a company has one key. */
function gather(cards: readonly Card[]): readonly MemberCard[] {
  const members = new Map<string, { name: string; key: string; gateways: Card[] }>();
  for (const card of cards) {
    const member = members.get(card.member) ?? { name: card.member, key: card.memberKey, gateways: [] };
    if (member.key !== card.memberKey)
      throw problem(`the cards of ${card.member} carry different company keys`, { exitCode: 2 });
    member.gateways.push(card);
    members.set(card.member, member);
  }
  return [...members.values()];
}

/** A data sheet by its file, or by the name of one that is shipped. */
async function sheetPath(given: string): Promise<string> {
  const shipped = projectFile('config', 'datasheets', `${given}.toml`);
  return /^[a-z0-9-]+$/.test(given) && (await exists(shipped)) ? shipped : given;
}

export const agreementDraft = defineCommand({
  name: 'agreement draft',
  summary: 'write an agreement from the cards of all gateways',
  about:
    'The draft is a TOML document for people to read and change. Its noise is the least that keeps all rounds within ' +
    'epsilon; change the number of rounds and the budget together.',
  arguments: [{ name: 'CARD', about: 'card.json of each gateway', many: true }],
  options: {
    out: { kind: 'text', value: 'FILE', required: true, about: 'where the document goes' },
    consortium: { kind: 'text', value: 'NAME', required: true, about: 'name of the consortium' },
    sheet: {
      kind: 'text',
      value: 'FILE',
      required: true,
      about: 'data sheet of the machines: a file, or simulated-machine, cmapss or cmapss-six-conditions',
    },
    stream: { kind: 'text', value: 'NAME', default: 'monitor', about: 'the stream that is learned from' },
    padding: {
      kind: 'number',
      value: 'N',
      default: 0,
      whole: true,
      least: 0,
      about: 'logs grow in steps of N blocks at every checkpoint, whatever was recorded; 0: as it comes',
    },
    preset: {
      kind: 'text',
      value: 'NAME',
      default: 'simulated-machine',
      choices: ['simulated-machine', 'cmapss'],
      about: 'windows, model and steps to begin with',
    },
    unit: {
      kind: 'text',
      value: 'UNIT',
      default: 'episode',
      choices: ['window', 'episode'],
      about: 'what one unit of privacy is',
    },
    epsilon: { kind: 'number', value: 'E', default: 8, about: 'privacy budget of all rounds together' },
    rounds: { kind: 'number', value: 'N', whole: true, least: 1, about: 'rounds of this epoch' },
    episodes: {
      kind: 'number',
      value: 'N',
      default: 20,
      whole: true,
      least: 1,
      about: 'finished machine lives a gateway is expected to have',
    },
    'windows-a-life': {
      kind: 'number',
      value: 'N',
      default: 110,
      whole: true,
      least: 1,
      about: 'windows such a life is expected to have',
    },
  },
  async run({ options, positionals, json }, io) {
    if (await exists(options.out))
      throw problem('it exists already', {
        where: options.out,
        todo: 'name another file; a signed document must not change',
      });
    const judged = await readSettingsFile(await sheetPath(options.sheet), dataSheetSchema);
    if (!judged.ok) throw settingsProblem(judged.faults);
    const members = gather(await Promise.all(positionals.map(readCard)));
    const terms = draftTerms({
      consortium: options.consortium,
      stream: options.stream,
      preset: PRESETS[options.preset],
      fleet: { episodes: options.episodes, windowsALife: options['windows-a-life'] },
      unit: options.unit,
      epsilon: options.epsilon,
      delta: 1e-5,
      rounds: options.rounds,
      checkpointIntervalMs: 10_000,
      padding: options.padding,
      intervalMs: 60_000,
    });
    const text = draftAgreement(
      terms,
      { channels: judged.value.channel, conditions: judged.value.condition },
      members,
    );
    const read = readAgreement(text, options.out);
    if (!read.ok) throw settingsProblem(read.faults);
    await replaceFile(options.out, text);
    if (json) printJson(io, { file: resolve(options.out), hash: toHex(read.value.hash) });
    else
      io.stdout.write(
        `${options.out}: ${members.length} members, hash ${toHex(read.value.hash)}\nRead it, then every member signs: kosmos agreement sign ${options.out} --member-key FILE\n`,
      );
    return 0;
  },
});

export const agreementSign = defineCommand({
  name: 'agreement sign',
  summary: 'sign an agreement with a company’s key',
  arguments: [{ name: 'FILE', about: 'the agreement' }],
  options: { 'member-key': { kind: 'text', value: 'FILE', required: true, about: 'the company’s own key' } },
  async run({ options, positionals, json }, io) {
    const path = positionals[0]!;
    const agreement = await loadUnsigned(path);
    const key = await loadKey(options['member-key']);
    const signatures = signaturesPath(path);
    const before = (await exists(signatures)) ? await readBounded(signatures, MAX_FILE) : undefined;
    const after = signAgreement(agreement, before, key);
    await replaceFile(signatures, after);
    const missing = unsignedBy(agreement, after);
    if (json) printJson(io, { file: resolve(signatures), missing });
    else
      io.stdout.write(
        missing.length === 0
          ? `signed by all: ${signatures}\n`
          : `signed; still missing: ${missing.join(', ')}\n`,
      );
    return 0;
  },
});

export const agreementShow = defineCommand({
  name: 'agreement show',
  summary: 'check an agreement and say who has signed it',
  arguments: [{ name: 'FILE', about: 'the agreement' }],
  options: {},
  async run({ positionals, json }, io) {
    const path = positionals[0]!;
    const agreement = await loadUnsigned(path);
    const signatures = signaturesPath(path);
    const missing = (await exists(signatures))
      ? unsignedBy(agreement, await readBounded(signatures, MAX_FILE))
      : agreement.members.map((member) => member.name);
    const { consortium, epoch, training, privacy, federation } = agreement.terms;
    if (json)
      printJson(io, {
        consortium,
        epoch,
        hash: toHex(agreement.hash),
        training,
        privacy: privacy ?? null,
        federation,
        missing,
      });
    else {
      const budget = privacy
        ? `epsilon ${privacy.epsilon}, delta ${privacy.delta}, unit ${training.unit}`
        : 'NO PRIVACY';
      io.stdout.write(
        `consortium ${consortium}, epoch ${epoch}, ${federation.rounds} rounds, ${budget}\nhash ${toHex(agreement.hash)}\n`,
      );
      for (const { name, gateways } of agreement.members) {
        io.stdout.write(
          `${name}: ${gateways.map((gateway) => gateway.name).join(', ')}; ${missing.includes(name) ? 'has NOT signed' : 'has signed'}\n`,
        );
      }
    }
    return missing.length === 0 ? 0 : 1;
  },
});
