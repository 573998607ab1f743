/**
 * Evidence of training in a gateway's directory: every entry of the log has its record and every record its entry,
 * each opens its own commitments, and charges and evidence name each other.
 */
import type { Verifier } from '#ed25519';
import { sha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import { decodeCbor, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { parseSign1, verifySign1 } from '../../core/encoding/cose.ts';
import { decodeEntry } from '../../core/encoding/entry.ts';
import { byteString, fieldsOf } from '../../core/encoding/fields.ts';
import { decodeOpeningRecord, decodeSet, decodeUpdateRecord } from '../../services/training/evidence.ts';
import {
  type Evidence,
  encodeEvidence,
  encodeIdentity,
  evidenceDigest,
  openEvidence,
  setRoot,
} from '../../state/ledger/evidence.ts';
import { broken } from './broken.ts';
import type { SectionsContext } from './checked.ts';
import { inRecord, sectionOf } from './stored.ts';

interface Found {
  readonly key: string;
  readonly evidence: Evidence;
  readonly entered: boolean;
}

/** How often each name is there. */
type Counts = Map<string, number>;

/**
 * @param keysOf every key that the gateway ever signed entries with.
 * @returns how many updates have evidence.
 * @throws Broken naming the first record that does not hold.
 */
export async function checkTraining(
  context: Pick<SectionsContext, 'store' | 'notebook' | 'isWhole'>,
  keysOf: (keyId: Uint8Array) => Verifier | undefined,
): Promise<number> {
  const found = await readRecords(context, keysOf);
  checkOpenings(found);
  checkLog(found, context);
  await checkPaid(found, context);
  return found.filter(({ evidence }) => evidence.form === 'update').length;
}

async function readRecords(
  { store }: Pick<SectionsContext, 'store'>,
  keysOf: (keyId: Uint8Array) => Verifier | undefined,
): Promise<Found[]> {
  const found: Found[] = [];
  const sets = new Set<string>();
  const needed = new Map<string, string>();
  const entries: (readonly [string, Uint8Array])[] = [];
  const released: (readonly [string, string])[] = [];
  for await (const [key, value] of sectionOf(store, 'training')) {
    const name = key.slice(key.indexOf('/') + 1);
    inRecord(`evidence of training (training/${key})`, () => {
      if (key.startsWith('update/')) {
        const { evidence, entered, root } = decodeUpdateRecord(value);
        found.push({ key, evidence, entered });
        needed.set(toHex(root), key);
      } else if (key.startsWith('opening/')) {
        found.push({ key, ...decodeOpeningRecord(value) });
      } else if (key.startsWith('entry/')) {
        entries.push([name, value]);
      } else if (key.startsWith('set/')) {
        if (toHex(setRoot(decodeSet(value).map(encodeIdentity))) !== name)
          throw new Error('it is another set than it stands under');
        sets.add(name);
      } else if (key.startsWith('paid/')) {
        released.push([key, name.slice(0, name.indexOf('/'))]);
      } else if (key === 'seed') {
        byteString(fieldsOf(decodeCbor(value), 2, 'seed')[1], 'seed', 32);
      } else {
        throw new Error('nothing of that name is kept');
      }
    });
  }
  for (const [root, key] of needed)
    if (!sets.has(root))
      throw broken(`evidence of training (training/${key}): the set of its episodes is absent`);
  const digests = new Set(found.map(({ evidence }) => toHex(evidenceDigest(evidence))));
  for (const [key, update] of released)
    if (!digests.has(update)) throw broken(`mark of an opening (training/${key}): its update is absent`);
  for (const [key, value] of entries) {
    inRecord(`entry shown with evidence (training/entry/${key})`, () => {
      const one = found.find((record) => record.key === key);
      const message = parseSign1(value);
      const verify = keysOf(message.keyId);
      if (!verify || !verifySign1(message, verify)) throw new Error('it is not signed by its gateway');
      const { kind, body } = decodeEntry(message.payload);
      if (
        kind !== 'training' ||
        !one ||
        !equalBytes(encodeCbor(body), encodeCbor(encodeEvidence(one.evidence)))
      )
        throw new Error('it is the entry of something else');
    });
  }
  return found;
}

/** What was opened is an update that is there. */
function checkOpenings(found: readonly Found[]): void {
  const updates = new Set(found.map(({ evidence }) => toHex(evidenceDigest(evidence))));
  for (const { key, evidence } of found)
    if (evidence.form === 'opening' && !updates.has(toHex(evidence.update)))
      throw broken(`evidence of training (training/${key}): the update that was opened is absent`);
}

function checkLog(
  found: readonly Found[],
  { notebook, isWhole }: Pick<SectionsContext, 'notebook' | 'isWhole'>,
): void {
  const logged: Counts = new Map();
  for (const body of notebook.bodies('training')) {
    const name = inRecord('training entry of the log', () => toHex(evidenceDigest(openEvidence(body))));
    add(logged, name, 1);
  }
  const recorded: Counts = new Map();
  for (const { key, evidence, entered } of found) {
    const name = toHex(evidenceDigest(evidence));
    add(recorded, name, 1);
    // One that a crash came after: the next start enters it.
    if (!entered && logged.get(name))
      throw broken(
        `evidence of training (training/${key}): the log has an entry of it, and its mark says none`,
      );
    if (entered && isWhole && !logged.get(name))
      throw broken(`evidence of training (training/${key}): the log has no entry of it`);
  }
  for (const name of logged.keys())
    if (!recorded.get(name)) throw broken('the journal lacks what opens a training entry of the log');
}

/** Each charge pays for one update or opening, and each of these is paid for where it names a charge. */
async function checkPaid(
  found: readonly Found[],
  { store, notebook, isWhole }: Pick<SectionsContext, 'store' | 'notebook' | 'isWhole'>,
): Promise<void> {
  const named: Counts = new Map();
  for (const { evidence } of found) if (evidence.charge) add(named, toHex(evidence.charge), 1);
  const charged: Counts = new Map();
  for await (const [, value] of sectionOf(store, 'ledger')) add(charged, toHex(sha256(value)), 1);
  for (const { key, evidence } of found)
    if (evidence.charge && (charged.get(toHex(evidence.charge)) ?? 0) < named.get(toHex(evidence.charge))!)
      throw broken(`evidence of training (training/${key}): the ledger lacks the charge that it names`);
  // What a charge of an earlier life paid for is gone with its log; it counts all the same.
  if (!isWhole) return;
  const entered: Counts = new Map();
  for (const body of notebook.bodies('charge')) add(entered, toHex(sha256(encodeCbor(body))), 1);
  for (const [digest, count] of entered)
    if ((named.get(digest) ?? 0) < count)
      throw broken(`charge ${digest.slice(0, 16)}: no training entry tells what it paid for`);
}

function add(counts: Counts, name: string, by: number): void {
  counts.set(name, (counts.get(name) ?? 0) + by);
}
