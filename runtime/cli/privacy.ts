/** The privacy budget: what was spent, on what, and what is left; and opening to an auditor what the log commits to. */
import { join, resolve } from 'node:path';
import { fromBase64 } from '../core/encoding/base64.ts';
import { askDaemon, isListening } from '../services/control/client.ts';
import { exists, readBounded } from '../state/files.ts';
import { createSection } from '../state/journal/section.ts';
import { openStore } from '../state/journal/store.ts';
import { type Charge, decodeCharge, readCharges } from '../state/ledger/ledger.ts';
import { type BudgetReport, budgetReport } from '../state/ledger/report.ts';
import { agreementIn } from './keys/own.ts';
import { auditOpened } from './privacy/audit.ts';
import { type OpenedFile, type Spending, spendingOf } from './privacy/handlers.ts';
import { describeBudget } from './privacy/view.ts';
import { loadSettings, loadUnsigned } from './settings-file.ts';
import { daemonOptions, socketOf } from './status.ts';
import { defineCommand } from './terminal/command.ts';
import { printJson } from './terminal/io.ts';
import { problem } from './terminal/problem.ts';

/** A charge is laid down with other members first, which may take its time. */
const OPEN_LIMIT_MS = 25_000;
/** A file with an opening; a set of a million episodes would be larger. */
const MAX_OPENED = 64 * 1024 * 1024;

export const privacy = defineCommand({
  name: 'privacy',
  summary: 'show what was spent of the privacy budget, on what, and what is left',
  about:
    'Of a gateway that runs: what its daemon knows. Else what lies in its directory. A budget is kept for every ' +
    'block of data; each epsilon stands with the unit that it protects.',
  options: {
    ...daemonOptions,
    agreement: {
      kind: 'text',
      value: 'FILE',
      about: 'the agreement, of a gateway that does not run; DIR/agreement.toml when absent',
    },
  },
  examples: ['privacy --directory /var/lib/kosmos', 'privacy --config /etc/kosmos/gateway.toml --json'],
  async run({ options, json }, io) {
    const socket = await socketOf(options);
    const spending = (await isListening(socket))
      ? ((await askDaemon(socket, 'privacy')) as { readonly ledger: Spending | null }).ledger
      : await spendingFrom(options);
    const budget = spending && reportOf(spending);
    if (json) printJson(io, { budget });
    else if (budget) io.stdout.write(`${describeBudget(budget).join('\n')}\n`);
    else io.stdout.write('OFF: the agreement trains without privacy\n');
    return 0;
  },
});

interface Where {
  readonly directory?: string | undefined;
  readonly config?: string | undefined;
  readonly agreement?: string | undefined;
}

async function spendingFrom(options: Where): Promise<Spending | null> {
  const settings = options.config === undefined ? undefined : (await loadSettings(options.config)).gateway;
  const directory = settings?.directory ?? resolve(options.directory!);
  const file = options.agreement ?? settings?.agreement ?? (await agreementIn(directory, undefined));
  if (file === undefined)
    throw problem('there is no agreement', { where: directory, todo: 'give --agreement FILE', exitCode: 2 });
  const agreement = await loadUnsigned(file);
  return spendingOf(agreement, await chargesIn(directory));
}

function reportOf({ budget, period, round, sizes, charges }: Spending): BudgetReport {
  const decoded = charges.map((charge) => decodeCharge(fromBase64(charge)));
  return budgetReport(decoded, budget, period ?? undefined, round, sizes);
}

async function chargesIn(directory: string): Promise<readonly Charge[]> {
  const journal = join(directory, 'journal');
  if (!(await exists(journal))) throw problem('there is no journal', { where: directory, exitCode: 2 });
  const store = await openStore(journal, 'existing');
  try {
    return await readCharges(createSection(store, 'ledger').entries({ prefix: 'charge/' }));
  } finally {
    await store.close();
  }
}

export const privacyOpen = defineCommand({
  name: 'privacy open',
  summary: 'open to an auditor what the log commits to about a round',
  about:
    'The log holds salted commitments to the episodes that were eligible and to the seed of the sampler. Opening the ' +
    'seed undoes the amplification by sampling, and is charged for that, with other members, before it is shown; ' +
    'opening the set names every run, which no budget allows. The daemon must run, since peers have to take the charge.',
  options: {
    ...daemonOptions,
    round: { kind: 'number', value: 'N', whole: true, least: 0, required: true, about: 'the round' },
    part: {
      kind: 'text',
      value: 'PART',
      required: true,
      choices: ['set', 'seed'],
      about: 'the eligible set, or the sampler’s seed',
    },
  },
  examples: ['privacy open --directory /var/lib/kosmos --round 12 --part seed > round-12.json'],
  async run({ options, json }, io) {
    const { round, part } = options;
    const socket = await socketOf(options);
    const opened = (await askDaemon(socket, 'privacy-open', { round, part }, OPEN_LIMIT_MS)) as OpenedFile;
    if (json) printJson(io, opened);
    else {
      io.stdout.write(`${JSON.stringify(opened, null, 2)}\n`);
      io.stderr.write(`this gives away ${opened.givesAway}\n`);
      io.stderr.write(
        opened.charge ? 'it has been charged for that\n' : 'nothing more was charged for that\n',
      );
    }
    return 0;
  },
});

export const privacyCheck = defineCommand({
  name: 'privacy check',
  summary: 'check what kosmos privacy open has written',
  about:
    'For the auditor: the opening belongs to the training entry, and the entry’s signature to what it is part of. ' +
    'That the entry is in the log, and whose key signed it, kosmos verify and the agreement tell.',
  arguments: [{ name: 'FILE', about: 'as kosmos privacy open wrote it' }],
  options: {},
  examples: ['privacy check round-12.json'],
  async run({ positionals, json }, io) {
    const file = positionals[0]!;
    const text = await readBounded(file, MAX_OPENED);
    try {
      const { update, part, signedBy, episodes } = auditOpened(JSON.parse(text));
      if (json)
        printJson(io, { round: update.round, part, signedBy: signedBy ?? null, episodes: episodes ?? null });
      else
        io.stdout.write(
          `this is the ${part} that the entry of round ${update.round} commits to${signedBy ? `; the entry names the key ${signedBy}` : ''}\n`,
        );
      return 0;
    } catch (error) {
      throw problem((error as Error).message, { where: file });
    }
  },
});
