/** Checks the records of the rooms: each by the signatures in it, or against what the log says. */
import { sha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import { decodeCbor, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, list, safeInteger, text } from '../../core/encoding/fields.ts';
import { parseCheckpoint } from '../../core/log/checkpoint.ts';
import { judgeEvidence, parseEvidence } from '../../core/log/evidence.ts';
import { parseNote } from '../../core/log/note.ts';
import { formatVkey } from '../../core/log/vkey.ts';
import { type LogParty, openStored } from '../../services/witnessing/names.ts';
import { decodeCounter } from '../../state/journal/counter.ts';
import { ordered } from '../../state/journal/keys.ts';
import { openDeposit } from '../../state/ledger/deposits.ts';
import { decodeCharge } from '../../state/ledger/ledger.ts';
import { maintenanceHash } from '../../state/maintenance/entry.ts';
import { readDoubt, readIncarnation, readWithout } from '../../state/provenance/incarnation.ts';
import { createKeyring } from '../../state/provenance/judge.ts';
import { broken } from './broken.ts';
import type { Checked, SectionsContext } from './checked.ts';
import { checkFederation } from './federation.ts';
import { inRecord, sectionOf } from './stored.ts';
import { statementName } from './stored-roster.ts';
import { checkTraining } from './training.ts';

export interface SectionsReport {
  readonly statements: number;
  readonly evidence: number;
  /** Logs of which a head was cosigned. */
  readonly witnessed: number;
  readonly charges: number;
  /** Updates that left, or could have left, with evidence of how they were computed. */
  readonly trainings: number;
  readonly deposits: number;
  readonly models: number;
  /** Records about gateways, logs and epochs that this agreement does not name: read, and not judged. */
  readonly outside: number;
}

/** @throws Broken naming the first record that does not hold. */
export async function checkSections(context: SectionsContext): Promise<SectionsReport> {
  // First, since whatever else is signed is judged by the keys that the roster names.
  await checkEntered(context);
  const evidence = await checkEvidence(context);
  const witnessed = await checkWitnessed(context);
  const origins = await checkOrigins(context);
  const deposits = await checkDeposits(context);
  const federation = await checkFederation(context);
  const charges = await checkCharges(context);
  const keyring = createKeyring(() => context.stored.roster.keys(context.gateway), 'sample');
  const trainings = await checkTraining(context, (keyId) => keyring.ever(keyId)?.verify);
  await checkMaintenance(context);
  await checkGateway(context);
  await checkCounters(context);
  const outside = [witnessed, origins, deposits, federation].reduce((sum, one) => sum + one.outside, 0);
  return {
    statements: context.stored.roster.statements().length,
    evidence,
    witnessed: witnessed.held,
    charges,
    trainings,
    deposits: deposits.held,
    models: federation.held,
    outside: outside + context.stored.passedOver,
  };
}

async function checkEvidence({ store, parties }: SectionsContext): Promise<number> {
  let count = 0;
  for await (const [key, file] of sectionOf(store, 'evidence')) {
    inRecord(`evidence ${key}`, () => {
      const evidence = parseEvidence(file);
      const verdict = judgeEvidence(evidence);
      if (verdict.kind === 'unproven') throw new Error(`it proves nothing: ${verdict.reason}`);
      const vkey = formatVkey(evidence.vkey);
      const isOf = (role: string) => key === `${role}/${toHex(sha256(new TextEncoder().encode(vkey)))}`;
      const owned = parties.some(
        ({ logKeys, witnessKeys }) =>
          (isOf('log') && logKeys.some((one) => formatVkey(one) === vkey)) ||
          (isOf('witness') && witnessKeys.some((one) => formatVkey(one) === vkey)),
      );
      if (!owned) throw new Error(`the key of ${evidence.vkey.name} is not the one that it stands under`);
    });
    count += 1;
  }
  return count;
}

/** Heads that were cosigned: the note in each is its log's. */
async function checkWitnessed({ store, parties }: SectionsContext): Promise<Checked> {
  let [held, outside] = [0, 0];
  for await (const [origin, value] of sectionOf(store, 'witness')) {
    const what = `witnessed head of ${origin}`;
    inRecord(what, () => {
      const fields = fieldsOf(decodeCbor(value), 3, what);
      const note = byteString(fields[2], what);
      const head = openNote(note, origin, parties);
      const size = safeInteger(fields[0], what);
      if (head.size !== size) throw new Error(`its checkpoint is of size ${head.size}, not ${size}`);
      if (!equalBytes(head.root, byteString(fields[1], what, 32)))
        throw new Error(`its root is not that of its checkpoint of size ${size}`);
      if (head.known) held += 1;
      else outside += 1;
    });
  }
  return { held, outside };
}

/** Signed checkpoints that nobody could link yet. */
async function checkOrigins({ store, parties }: SectionsContext): Promise<Checked> {
  let [held, outside] = [0, 0];
  for await (const [key, note] of sectionOf(store, 'origin')) {
    const origin = key.slice(0, key.lastIndexOf('/'));
    inRecord(`checkpoint kept as origin/${key}`, () => {
      const head = openNote(note, origin, parties);
      if (key !== `${origin}/${ordered(head.size)}`) throw new Error(`it is for size ${head.size}`);
      if (head.known) held += 1;
      else outside += 1;
    });
  }
  return { held, outside };
}

/** What a log has signed; of a log that is none of the agreement's the signature is for others to judge. */
function openNote(note: Uint8Array, origin: string, parties: readonly LogParty[]) {
  const party = parties.find((one) => one.origin === origin);
  if (!party) {
    const checkpoint = parseCheckpoint(parseNote(note).text);
    if (checkpoint.origin !== origin) throw new Error(`its checkpoint is of ${checkpoint.origin}`);
    return { ...checkpoint, known: false };
  }
  const { checkpoint, unverified } = openStored(note, party, parties);
  if (unverified[0]) throw new Error(`${unverified[0].name} is neither its log nor a witness`);
  return { ...checkpoint, known: true };
}

async function checkDeposits({ store, agreement, stored }: SectionsContext): Promise<Checked> {
  let [held, outside] = [0, 0];
  for await (const [key, bytes] of sectionOf(store, 'deposit')) {
    const gateway = key.slice(0, key.lastIndexOf('/'));
    if (!agreement.gateways.some(({ name }) => name === gateway)) {
      outside += 1;
      continue;
    }
    const keyring = createKeyring(() => stored.roster.keys(gateway), 'sample');
    inRecord(`charge laid down by ${gateway} (deposit/${key})`, () => {
      const { incarnation, sequence } = openDeposit(bytes, (keyId) => keyring.ever(keyId)?.verify);
      if (key !== `${gateway}/${ordered(incarnation)}${ordered(sequence)}`)
        throw new Error('it is another entry than it stands under');
    });
    held += 1;
  }
  return { held, outside };
}

/** The ledger and the log tell of the same charges: with one less in the ledger, budget would be spent twice. */
async function checkCharges({ store, notebook, isWhole }: SectionsContext): Promise<number> {
  const entered = new Map<string, number>();
  for (const body of notebook.bodies('charge')) add(entered, toHex(encodeCbor(body)), 1);
  let index = 0;
  for await (const [key, value] of sectionOf(store, 'ledger')) {
    const what = `charge ${index} of the ledger`;
    inRecord(what, () => {
      if (key !== `charge/${ordered(index)}`) throw new Error(`it is absent; the next is ${key}`);
      decodeCharge(value);
      // After a restore the ledger knows charges from peers whose entries are gone.
      if (isWhole && !entered.get(toHex(value))) throw new Error('the log has no entry of it');
    });
    add(entered, toHex(value), -1);
    index += 1;
  }
  if ([...entered.values()].some((left) => left > 0))
    throw broken('the ledger lacks a charge that the log has an entry of');
  return index;
}

function add(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}

/** Which statements about keys have been entered into the log. */
async function checkEntered({ store, stored, notebook, isWhole }: SectionsContext): Promise<void> {
  const entered = new Set<string>();
  for (const body of notebook.bodies('keys')) {
    const statement = byteString(body, 'keys entry');
    const hash = sha256(statement);
    entered.add(toHex(hash));
    if (!stored.statements.some((one) => equalBytes(one, statement)))
      throw broken(`${statementName(hash)}: the log holds it, the roster does not`);
  }
  for await (const [key, value] of sectionOf(store, 'statements')) {
    inRecord(`statement about keys ${key.slice(0, 16)} (statements/${key})`, () => {
      if (!equalBytes(value, encodeCbor([1]))) throw new Error('its mark is not the one that is written');
      if (isWhole && !entered.has(key)) throw new Error('it is marked as entered, and the log has no entry');
    });
  }
}

async function checkMaintenance({ store, notebook, isWhole }: SectionsContext): Promise<void> {
  const hashes = notebook.bodies('maintenance').map(maintenanceHash);
  for await (const [key, value] of sectionOf(store, 'maintenance')) {
    if (!isWhole) continue;
    if (key === 'last') {
      const what = 'the record of the last maintenance entry';
      const last = hashes.at(-1);
      const count = value.length === 40 ? new DataView(value.buffer, value.byteOffset).getBigUint64(32) : -1n;
      if (!last || !equalBytes(last, value.subarray(0, 32)))
        throw broken(`${what} names another one than the log's last`);
      if (count !== BigInt(hashes.length))
        throw broken(`${what} counts ${count}, the log has ${hashes.length}`);
    } else if (!hashes.some((hash) => key === `opening/${toHex(hash)}`)) {
      throw broken(`maintenance/${key}: the log has no such maintenance entry`);
    }
  }
}

/** What the gateway knows of itself. */
async function checkGateway({ store, notebook, isWhole }: SectionsContext): Promise<void> {
  const records = new Map<string, Uint8Array>();
  for await (const [key, value] of sectionOf(store, 'gateway')) records.set(key, value);
  const section = { get: async (key: string) => records.get(key) };
  const agreements = notebook
    .bodies('agreement')
    .map((body) => toHex(byteString(fieldsOf(body, 3, 'agreement entry')[2], 'agreement entry', 32)));
  for (const [key, value] of records) {
    if (!key.startsWith('agreement/')) continue;
    const hash = key.slice('agreement/'.length);
    if (toHex(value) !== hash) throw broken(`gateway/${key}: its value is another hash`);
    if (isWhole && !agreements.includes(hash)) throw broken(`gateway/${key}: the log has no entry of it`);
  }
  const raised = records.get('raised');
  await checkRead('the gateway’s incarnation', async () => {
    const incarnation = await readIncarnation(section);
    if (raised || !isWhole) return;
    const told = notebook
      .bodies('recovery')
      .map((body) => safeInteger(fieldsOf(body, 5, 'recovery')[1], 'to'));
    const last = Math.max(0, ...told);
    if (incarnation !== last) throw new Error(`it is ${incarnation}, the log tells of ${last}`);
  });
  await checkRead('raised incarnations', async () => {
    if (raised) for (const row of list(decodeCbor(raised), 65, 'rows')) fieldsOf(row, 6, 'row');
  });
  await checkRead('the record of a doubt', () => readDoubt(section));
  await checkRead('gateways not waited for', () => readWithout(section));
  await checkRead('the record of the directory’s instance', async () => {
    const instance = records.get('instance');
    for (const one of instance ? list(decodeCbor(instance), 2, 'instance') : [])
      if (!/^\d+\/\d+$/.test(text(one, 'instance'))) throw new Error('it names no file');
  });
}

async function checkRead(what: string, work: () => Promise<unknown>): Promise<void> {
  await work().catch((error: Error) => {
    throw broken(`${what}: ${error.message}`);
  });
}

/** Counters of what the journal holds nothing of are looked at too. */
async function checkCounters({ store }: SectionsContext): Promise<void> {
  for await (const [name, value] of sectionOf(store, 'sequence'))
    inRecord(`the counter of ${name}`, () => decodeCounter(value));
}
