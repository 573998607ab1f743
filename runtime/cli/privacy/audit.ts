/** An auditor's check of a file that `kosmos privacy open` wrote. */
import { z } from 'zod';
import { fromBase64, fromHex, toHex } from '../../core/encoding/base64.ts';
import { decodeCbor, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { parseSign1 } from '../../core/encoding/cose.ts';
import { decodeEntry } from '../../core/encoding/entry.ts';
import {
  checkOpening,
  type Opening,
  openEvidence,
  type UpdateEvidence,
} from '../../state/ledger/evidence.ts';

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const episode = z.strictObject({
  machine: z.string(),
  end: z.enum(['failure', 'censored', 'running']),
  ended: z.int(),
  rows: z.int(),
  digest: hash,
});
const common = {
  agreement: hash,
  round: z.int(),
  givesAway: z.string(),
  evidence: z.base64(),
  entry: z.base64().nullable(),
  salt: hash,
  charge: z.base64().nullable(),
};
const openedFile = z.discriminatedUnion('part', [
  z.strictObject({ ...common, part: z.literal('seed'), seed: hash }),
  z.strictObject({ ...common, part: z.literal('set'), episodes: z.array(episode).max(1_000_000) }),
]);

export interface Audited {
  readonly update: UpdateEvidence;
  readonly part: 'set' | 'seed';
  /** Key identifier that signed the entry, hexadecimal; whose it is the agreement and the log tell. */
  readonly signedBy: string | undefined;
  readonly episodes: number | undefined;
}

/** @throws Error saying what does not fit. */
export function auditOpened(given: unknown): Audited {
  const judged = openedFile.safeParse(given);
  if (!judged.success) throw new Error(z.prettifyError(judged.error));
  const file = judged.data;
  const body = decodeCbor(fromBase64(file.evidence));
  const update = openEvidence(body);
  if (update.form !== 'update') throw new Error('the evidence is not that of an update');
  if (toHex(update.agreement) !== file.agreement || update.round !== file.round)
    throw new Error('the evidence is that of another round');
  const message = file.entry === null ? undefined : parseSign1(fromBase64(file.entry));
  if (message) {
    const entry = decodeEntry(message.payload);
    if (entry.kind !== 'training' || !equalBytes(encodeCbor(entry.body), encodeCbor(body)))
      throw new Error('the signed entry is that of something else');
  }
  checkOpening(update, openingOf(file));
  return {
    update,
    part: file.part,
    signedBy: message && toHex(message.keyId),
    episodes: file.part === 'set' ? file.episodes.length : undefined,
  };
}

function openingOf(file: z.output<typeof openedFile>): Opening {
  const salt = fromHex(file.salt);
  if (file.part === 'seed') return { part: 'seed', salt, seed: fromHex(file.seed) };
  const episodes = file.episodes.map((one) => ({ ...one, digest: fromHex(one.digest) }));
  return { part: 'set', salt, episodes };
}
