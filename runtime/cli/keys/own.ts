/** Which gateway a directory holds, and what is known of keys there without its daemon. */
import { join } from 'node:path';
import { z } from 'zod';
import { fromBase64, toBase64 } from '../../core/encoding/base64.ts';
import { exists, replaceFile } from '../../state/files.ts';
import { openEndorsement } from '../../state/provenance/endorsement.ts';
import { type Enrolment, type Roster, rosterOf } from '../../state/provenance/roster.ts';
import { subjectOf } from '../../state/provenance/roster-state.ts';
import { readStatements, statementsPath } from '../../state/provenance/statements-file.ts';
import { loadUnsigned, readJson } from '../settings-file.ts';
import { problem } from '../terminal/problem.ts';

const cardSchema = z.looseObject({
  member: z.string(),
  name: z.string(),
  identity: z.base64(),
  endorsement: z.base64(),
  memberKey: z.base64(),
});
type Card = z.output<typeof cardSchema>;

export interface OwnGateway {
  readonly member: string;
  readonly name: string;
  readonly enrolment: Enrolment;
  readonly roster: Roster;
}

export interface WhichGateway {
  readonly member?: string | undefined;
  readonly name?: string | undefined;
  readonly agreement?: string | undefined;
}

const cardPath = (directory: string) => join(directory, 'card.json');

async function readCard(directory: string): Promise<Card | undefined> {
  const path = cardPath(directory);
  if (!(await exists(path))) return undefined;
  const judged = cardSchema.safeParse(await readJson(path));
  if (judged.success) return judged.data;
  throw problem('it is not a card as kosmos init writes it', { where: path, exitCode: 2 });
}

/** What a card says of its gateway alone. */
function enrolmentOf(card: Card): Enrolment {
  const identity = fromBase64(card.identity);
  const endorsement = openEndorsement(fromBase64(card.endorsement), identity);
  return {
    members: [{ name: card.member, publicKey: fromBase64(card.memberKey) }],
    gateways: [{ member: card.member, name: card.name, identity, endorsement }],
  };
}

/** The agreement that belongs to a directory: the file that was named, or the one in it. */
export async function agreementIn(directory: string, named: string | undefined): Promise<string | undefined> {
  if (named !== undefined) return named;
  const inside = join(directory, 'agreement.toml');
  return (await exists(inside)) ? inside : undefined;
}

/**
 * The gateway in `directory`, by its card and the agreement; the roster holds the statements that lie there.
 * @throws Problem when neither says which gateway it is, or the agreement does not name it.
 */
export async function ownGateway(directory: string, which: WhichGateway): Promise<OwnGateway> {
  const card = await readCard(directory);
  const member = which.member ?? card?.member;
  const name = which.name ?? card?.name;
  const todo = 'give --member NAME and --name NAME, and the agreement with --agreement FILE';
  if (member === undefined || name === undefined)
    throw problem('which gateway is this? There is no card.json', { where: directory, todo, exitCode: 2 });
  const path = await agreementIn(directory, which.agreement);
  if (path === undefined && !card)
    throw problem('there is neither a card nor an agreement', { where: directory, todo, exitCode: 2 });
  const enrolment: Enrolment = path === undefined ? enrolmentOf(card!) : await loadUnsigned(path);
  if (!enrolment.gateways.some((one) => one.name === name && one.member === member)) {
    throw problem(`no gateway ${name} of ${member} is named there`, {
      where: path ?? cardPath(directory),
      exitCode: 2,
    });
  }
  const statements = await readStatements(statementsPath(directory));
  // Those about gateways that a card does not name are for the daemon, which has the agreement.
  const about = statements.filter((one) =>
    enrolment.gateways.some(({ name }) => name === subjectOf(one).gateway),
  );
  return { member, name, enrolment, roster: rosterOf(enrolment, about) };
}

/** Puts the newest endorsement into the card, so that the next agreement begins with it. */
export async function updateCard(directory: string, endorsement: Uint8Array): Promise<void> {
  const card = await readCard(directory);
  if (!card) return;
  const changed = { ...card, endorsement: toBase64(endorsement) };
  await replaceFile(cardPath(directory), `${JSON.stringify(changed, null, 2)}\n`);
}
