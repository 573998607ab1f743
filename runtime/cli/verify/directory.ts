/** Checks a gateway's directory offline: every record, signature, sequence, the tree, checkpoints and cosignatures. */
import { join } from 'node:path';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { blockRoot, decodeOpening, leafDataOf } from '../../core/log/block.ts';
import { leafHash } from '../../core/log/hash.ts';
import { quorum } from '../../core/log/policy.ts';
import { createFrontier } from '../../core/log/tree.ts';
import { cosigningMembers, type LogParty, logParties, openStored } from '../../services/witnessing/names.ts';
import type { Agreement } from '../../state/agreement/agreement.ts';
import { exists } from '../../state/files.ts';
import { type BlockRecord, decodeBlockRecord } from '../../state/journal/block-record.ts';
import { decodeDamage } from '../../state/journal/damage-report.ts';
import { keys, unordered } from '../../state/journal/keys.ts';
import { RETENTIONS } from '../../state/journal/retention.ts';
import { findDamagedTables } from '../../state/journal/signs.ts';
import { decodeState, isLost, type JournalState } from '../../state/journal/state.ts';
import { openStore, type Store } from '../../state/journal/store.ts';
import { findDamagedWrite } from '../../state/journal/write-ahead.ts';
import { createKeyring } from '../../state/provenance/judge.ts';
import { broken } from './broken.ts';
import {
  checkBlockSignature,
  checkEntry,
  createSequenceCheck,
  type SequenceCheck,
  type SigningKeys,
} from './entries.ts';
import { createLogCheck } from './log-records.ts';
import { checkMirrors, type MirrorsReport } from './mirrors.ts';
import { createNotebook, type Notebook } from './notebook.ts';
import { checkSections, type SectionsReport } from './sections.ts';
import { readStoredRoster } from './stored-roster.ts';

export interface DirectoryReport extends MirrorsReport, SectionsReport {
  readonly gateway: string;
  readonly blocks: number;
  /** The first block that is still held; earlier ones were dropped by retention. */
  readonly firstBlock: number;
  readonly entries: number;
  readonly samples: number;
  readonly signatures: number;
  readonly checkpoints: number;
  readonly cosignatures: number;
  /** Cosignatures of witnesses from outside the consortium; the agreement does not say whose they are. */
  readonly foreignCosignatures: number;
  readonly finalSize: number;
  readonly records: number;
}

interface Counts {
  entries: number;
  samples: number;
  signatures: number;
}

/**
 * Checks the directory of `gateway`.
 * @param progress is told how many blocks of how many are done.
 * @throws Broken at the first broken thing; Error when the directory cannot be read at all.
 */
export async function verifyDirectory(
  directory: string,
  agreement: Agreement,
  gateway: string,
  progress: (done: number, of: number) => void,
): Promise<DirectoryReport> {
  const own = agreement.gateways.find((candidate) => candidate.name === gateway);
  if (!own) throw new Error(`the agreement names no gateway ${gateway}`);
  const journal = join(directory, 'journal');
  if (!(await exists(journal))) throw new Error(`there is no journal in ${directory}`);
  const damaged = await findDamagedWrite(journal);
  if (damaged)
    throw broken(
      `the record at byte ${damaged.offset} of ${join(journal, damaged.file)} is damaged: its checksum does not match`,
    );
  const [table] = await findDamagedTables(journal);
  if (table) throw broken(`table ${join(journal, table.file)} is damaged: ${table.damage}`);
  const store = await openStore(journal, 'existing');
  try {
    const records = await checkRecords(store);
    const state = await readState(store);
    const stored = await readStoredRoster(store, agreement);
    const parties = logParties(agreement, stored.roster);
    const party = parties.find((candidate) => candidate.gateway === gateway)!;
    const checkpoints = await readCheckpoints(store, party, parties);
    const keyring = createKeyring(() => stored.roster.keys(gateway), 'sample');
    const keysOf: SigningKeys = (keyId) => keyring.ever(keyId)?.verify;
    const notebook = createNotebook();
    const counts = await checkBlocks(store, state, { keysOf, notebook }, checkpoints, progress);
    const all = [...checkpoints.values()];
    const cosignatures = all.reduce((sum, { signers }) => sum + signers.length, 0);
    const isWhole = state.lost.length === 0 && !(await store.get(keys.damage)) && !notebook.tellsOfDamage();
    const sections = await checkSections({ store, agreement, gateway, parties, stored, notebook, isWhole });
    const mirrors = await checkMirrors(store, parties, notebook.tellsOfDamage());
    const needed = quorum(agreement.members.length);
    const final = [...checkpoints].filter(
      ([, { signers }]) => cosigningMembers(parties, signers).size >= needed,
    );
    return {
      gateway,
      blocks: state.blocks,
      firstBlock: state.first,
      ...counts,
      signatures: counts.signatures + checkpoints.size + cosignatures,
      checkpoints: checkpoints.size,
      cosignatures,
      foreignCosignatures: all.reduce((sum, { foreign }) => sum + foreign, 0),
      ...sections,
      ...mirrors,
      finalSize: Math.max(0, ...final.map(([size]) => size)),
      records,
    };
  } finally {
    await store.close();
  }
}

/** Reads every record once: each has a checksum. */
async function checkRecords(store: Store): Promise<number> {
  let records = 0;
  try {
    for await (const _ of store.entries({ from: '', to: '\uffff' })) records += 1;
  } catch (error) {
    throw broken((error as Error).message);
  }
  return records;
}

async function readState(store: Store): Promise<JournalState> {
  const bytes = await store.get(keys.state);
  if (!bytes) throw broken('the journal has no record of its own state');
  return check('the journal’s record of its own state', () => decodeState(bytes));
}

interface StoredCheckpoint {
  readonly root: Uint8Array;
  readonly signers: readonly string[];
  readonly foreign: number;
}

async function readCheckpoints(
  store: Store,
  own: LogParty,
  parties: readonly LogParty[],
): Promise<ReadonlyMap<number, StoredCheckpoint>> {
  const checkpoints = new Map<number, StoredCheckpoint>();
  const base = keys.section('checkpoint', '');
  const consortium = own.origin.slice(0, own.origin.indexOf('/') + 1);
  for await (const [key, note] of store.entries({ from: base, to: `${base}\uffff` })) {
    const size = unordered(key.slice(base.length));
    try {
      const opened = openStored(note, own, parties);
      // Under a name of the consortium nobody else signs; others are witnesses that its operator has chosen.
      const stranger = opened.unverified.find(({ name }) => name.startsWith(consortium));
      if (stranger)
        throw new Error(
          `${stranger.name} (key ${stranger.keyId.toString(16)}) is not a witness of the agreement`,
        );
      if (opened.checkpoint.size !== size) throw new Error(`it is for size ${opened.checkpoint.size}`);
      const signers = opened.verified.map((line) => line.name).filter((name) => name !== own.log.name);
      checkpoints.set(size, { root: opened.checkpoint.root, signers, foreign: opened.unverified.length });
    } catch (error) {
      throw broken(`checkpoint of size ${size}: ${(error as Error).message}`);
    }
  }
  return checkpoints;
}

async function checkBlocks(
  store: Store,
  state: JournalState,
  { keysOf, notebook }: Pick<EntryContext, 'keysOf' | 'notebook'>,
  checkpoints: ReadonlyMap<number, StoredCheckpoint>,
  progress: (done: number, of: number) => void,
): Promise<Counts> {
  const counts: Counts = { entries: 0, samples: 0, signatures: 0 };
  const sequences = createSequenceCheck(
    RETENTIONS.some((rule) => state.held[rule].dropped > 0) || state.lost.length > 0,
  );
  const frontier = createFrontier();
  const log = createLogCheck(store, state.blocks);
  let absent = 0;
  for (let index = 0; index < state.blocks; index++) {
    const leafData = await log.leaf(index);
    const record = await readRecord(store, index);
    if (record) {
      await checkBlock(index, record, leafData, { store, keysOf, notebook, sequences, counts });
    } else {
      if (!mayBeAbsent(state, index)) throw broken(`block ${index} is absent`);
      absent += 1;
    }
    const hash = leafHash(leafData);
    await log.add(hash, index);
    frontier.append(hash);
    const checkpoint = checkpoints.get(index + 1);
    if (checkpoint && !equalBytes(checkpoint.root, frontier.root())) {
      throw broken(`checkpoint of size ${index + 1}: its root is not that of the blocks`);
    }
    if (index % 64 === 0) progress(index, state.blocks);
  }
  const rebuilt = frontier.hashes;
  if (!state.frontier.hashes.every((hash, at) => rebuilt[at] && equalBytes(hash, rebuilt[at])))
    throw broken('the right edge of the log is not that of the blocks');
  const beyond = Math.max(0, ...checkpoints.keys());
  if (beyond > state.blocks)
    throw broken(`checkpoint of size ${beyond}: the journal holds only ${state.blocks} blocks`);
  if (absent === 0 && counts.entries !== state.entries) {
    throw broken(`the journal counts ${state.entries} entries, its blocks hold ${counts.entries}`);
  }
  await sequences.finish(store).catch((error: Error) => {
    throw broken(error.message);
  });
  await checkLosses(store, state, sequences);
  progress(state.blocks, state.blocks);
  return counts;
}

async function readRecord(store: Store, index: number): Promise<BlockRecord | undefined> {
  const found = (await store.getMany(RETENTIONS.map((rule) => keys.block(rule, index)))).filter(
    (value) => value !== undefined,
  );
  if (found.length > 1) throw broken(`block ${index} is there twice`);
  try {
    return found[0] && decodeBlockRecord(found[0]);
  } catch (error) {
    throw broken(`block ${index}: ${(error as Error).message}`);
  }
}

/** What is gone without having been dropped, the log tells of: in an entry, or in one that the next start writes. */
async function checkLosses(store: Store, { lost }: JournalState, sequences: SequenceCheck): Promise<void> {
  // The next start tells of blocks that were lost to a restore.
  if (await store.get(keys.section('gateway', 'raised'))) return;
  const pending = await store.get(keys.damage);
  const told = [...sequences.lostBlocks(), ...(pending ? decodeDamage(pending).blocks : [])];
  for (const [from, to] of lost) {
    for (let block = from; block < to; block++) {
      if (!told.some((range) => block >= range[0] && block < range[1]))
        throw broken(`block ${block} is lost, and no loss of it is on record`);
    }
  }
}

/** A block that is not there was dropped by a rule that may drop, or its loss is on record. */
function mayBeAbsent(state: JournalState, index: number): boolean {
  return (
    isLost(state.lost, index) ||
    index < state.held['drop-oldest'].dropped ||
    index < state.held['drop-published'].dropped
  );
}

async function checkBlock(
  index: number,
  { opening: bytes, entries }: BlockRecord,
  leafData: Uint8Array,
  { store, keysOf, notebook, sequences, counts }: EntryContext,
): Promise<void> {
  const opening = check(`block ${index}`, () => decodeOpening(bytes));
  if (!equalBytes(leafDataOf(bytes), leafData))
    throw broken(`block ${index} is not the one that the log holds`);
  if (opening.count !== entries.length || !equalBytes(opening.root, blockRoot(entries))) {
    throw broken(`block ${index}: its entries are not those that the log holds`);
  }
  if (opening.signature) {
    check(`block ${index}`, () => checkBlockSignature(opening, keysOf));
    counts.signatures += 1;
  }
  for (const [position, entry] of entries.entries()) {
    try {
      const blockSigned = opening.signature !== undefined;
      const { signed, entry: note } = await checkEntry(entry, blockSigned, keysOf, sequences, store);
      counts.entries += 1;
      if (signed) counts.signatures += 1;
      if (note) notebook.add(note);
      else counts.samples += 1;
    } catch (error) {
      throw broken(`entry ${position} of block ${index}: ${(error as Error).message}`);
    }
  }
}

interface EntryContext {
  readonly store: Store;
  readonly keysOf: SigningKeys;
  readonly notebook: Notebook;
  readonly sequences: SequenceCheck;
  readonly counts: Counts;
}

function check<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw broken(`${what}: ${(error as Error).message}`);
  }
}
