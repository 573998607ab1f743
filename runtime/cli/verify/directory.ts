/** Checks a gateway's directory offline: every record, signature, sequence, the tree, checkpoints and cosignatures. */
import { join } from 'node:path';
import { createVerifier, type Verifier } from '#ed25519';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { keyIdOf } from '../../core/encoding/cose.ts';
import { decodeBlock, encodeLeaf, leafOf } from '../../core/log/block.ts';
import { openCheckpoint } from '../../core/log/checkpoint.ts';
import { HASH_LENGTH, leafHash } from '../../core/log/hash.ts';
import { quorum } from '../../core/log/policy.ts';
import { TILE_WIDTH, tileHash } from '../../core/log/tiles.ts';
import { createFrontier } from '../../core/log/tree.ts';
import { cosigningMembers, type LogParty, logParties } from '../../services/witnessing/names.ts';
import type { Agreement } from '../../state/agreement/agreement.ts';
import { exists } from '../../state/files.ts';
import { keys, ordered, unordered } from '../../state/journal/keys.ts';
import { decodeState, type JournalState } from '../../state/journal/state.ts';
import { openStore, type Store } from '../../state/journal/store.ts';
import { checkEntry, createSequenceCheck, type SequenceCheck } from './entries.ts';
import { findDamagedWrite } from './write-ahead.ts';

export interface DirectoryReport {
  readonly gateway: string;
  readonly blocks: number;
  /** The first block that is still held; earlier ones were dropped by retention. */
  readonly firstBlock: number;
  readonly entries: number;
  readonly samples: number;
  readonly signatures: number;
  readonly checkpoints: number;
  readonly cosignatures: number;
  readonly finalSize: number;
  readonly records: number;
}

/** The first thing that is broken; the message names it. */
export interface Broken extends Error {
  readonly name: 'Broken';
}

function broken(what: string): Broken {
  return Object.assign(new Error(what), { name: 'Broken' as const });
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
  const store = await openStore(journal, 'existing');
  try {
    const records = await checkRecords(store);
    const state = await readState(store);
    const parties = logParties(agreement);
    const party = parties.find((candidate) => candidate.gateway === gateway)!;
    const checkpoints = await readCheckpoints(store, party, parties);
    const key = own.endorsement.publicKeys.sample;
    const counts = await checkBlocks(
      store,
      state,
      { keyId: keyIdOf(key), verify: createVerifier(key) },
      checkpoints,
      progress,
    );
    const cosignatures = [...checkpoints.values()].reduce(
      (sum, checkpoint) => sum + checkpoint.signers.length,
      0,
    );
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
  return decodeState(bytes);
}

interface StoredCheckpoint {
  readonly root: Uint8Array;
  readonly signers: readonly string[];
}

async function readCheckpoints(
  store: Store,
  own: LogParty,
  parties: readonly LogParty[],
): Promise<ReadonlyMap<number, StoredCheckpoint>> {
  const checkpoints = new Map<number, StoredCheckpoint>();
  const base = keys.section('checkpoint', '');
  for await (const [key, note] of store.entries({ from: base, to: `${base}\uffff` })) {
    const size = unordered(key.slice(base.length));
    try {
      const opened = openCheckpoint(
        note,
        own.log,
        parties.map((party) => party.witness),
      );
      const stranger = opened.unverified[0];
      if (stranger)
        throw new Error(
          `${stranger.name} (key ${stranger.keyId.toString(16)}) is not a witness of the agreement`,
        );
      if (opened.checkpoint.size !== size) throw new Error(`it is for size ${opened.checkpoint.size}`);
      const signers = opened.verified.map((line) => line.name).filter((name) => name !== own.log.name);
      checkpoints.set(size, { root: opened.checkpoint.root, signers });
    } catch (error) {
      throw broken(`checkpoint of size ${size}: ${(error as Error).message}`);
    }
  }
  return checkpoints;
}

async function checkBlocks(
  store: Store,
  state: JournalState,
  key: { readonly keyId: Uint8Array; readonly verify: Verifier },
  checkpoints: ReadonlyMap<number, StoredCheckpoint>,
  progress: (done: number, of: number) => void,
): Promise<Counts> {
  const counts: Counts = { entries: 0, samples: 0, signatures: 0 };
  const sequences = createSequenceCheck(state.first > 0);
  const frontier = createFrontier();
  const tree = createTileCheck(store);
  for (let index = 0; index < state.blocks; index++) {
    const hash =
      index < state.first
        ? await storedLeaf(store, state, index)
        : await checkBlock(store, index, key, sequences, counts);
    await tree.add(index, hash, state);
    frontier.append(hash);
    const checkpoint = checkpoints.get(index + 1);
    if (checkpoint && !equalBytes(checkpoint.root, frontier.root())) {
      throw broken(`checkpoint of size ${index + 1}: its root is not that of the blocks`);
    }
    if (index % 64 === 0) progress(index, state.blocks);
  }
  const beyond = Math.max(0, ...checkpoints.keys());
  if (beyond > state.blocks)
    throw broken(`checkpoint of size ${beyond}: the journal holds only ${state.blocks} blocks`);
  if (state.first === 0 && counts.entries !== state.entries) {
    throw broken(`the journal counts ${state.entries} entries, its blocks hold ${counts.entries}`);
  }
  await sequences.compareCounters(store);
  progress(state.blocks, state.blocks);
  return counts;
}

async function checkBlock(
  store: Store,
  index: number,
  key: { readonly keyId: Uint8Array; readonly verify: Verifier },
  sequences: SequenceCheck,
  counts: Counts,
): Promise<Uint8Array> {
  const bytes = await store.get(keys.block(index));
  if (!bytes) throw broken(`block ${index} is absent`);
  let entries: readonly Uint8Array[];
  try {
    entries = decodeBlock(bytes);
  } catch (error) {
    throw broken(`block ${index}: ${(error as Error).message}`);
  }
  for (const [position, entry] of entries.entries()) {
    try {
      const kind = await checkEntry(entry, key, sequences, store);
      counts.entries += 1;
      counts.signatures += 1;
      if (kind === 'sample') counts.samples += 1;
    } catch (error) {
      throw broken(`entry ${position} of block ${index}: ${(error as Error).message}`);
    }
  }
  return leafHash(encodeLeaf(leafOf(entries)));
}

/** The leaf hash of a block that retention has dropped. */
async function storedLeaf(store: Store, state: JournalState, index: number): Promise<Uint8Array> {
  const tile = Math.floor(index / TILE_WIDTH);
  const isFull = (tile + 1) * TILE_WIDTH <= state.blocks;
  if (!isFull) return present(await store.get(keys.leaf(index)), `leaf hash ${index}`);
  const hashes = present(await store.get(keys.tile(0, tile)), `tile 0/${tile}`);
  const offset = (index % TILE_WIDTH) * HASH_LENGTH;
  return hashes.slice(offset, offset + HASH_LENGTH);
}

function present(value: Uint8Array | undefined, what: string): Uint8Array {
  if (!value) throw broken(`${what} is absent`);
  return value;
}

/** Compares the stored hashes with those that follow from the blocks. */
function createTileCheck(store: Store) {
  const rows: Uint8Array[][] = [];

  async function push(level: number, hash: Uint8Array, count: number): Promise<void> {
    rows[level] ??= [];
    const row = rows[level]!;
    row.push(hash);
    if (row.length < TILE_WIDTH) return;
    const stored = present(
      await store.get(keys.tile(level, count / TILE_WIDTH - 1)),
      `tile ${level}/${count / TILE_WIDTH - 1}`,
    );
    if (!equalBytes(stored, Buffer.concat(row)))
      throw broken(`tile ${level}/${count / TILE_WIDTH - 1} is not made of the blocks' hashes`);
    rows[level] = [];
    await push(level + 1, tileHash(stored), count / TILE_WIDTH);
  }

  return {
    async add(index: number, hash: Uint8Array, state: JournalState): Promise<void> {
      const inFullTile = (Math.floor(index / TILE_WIDTH) + 1) * TILE_WIDTH <= state.blocks;
      if (
        !inFullTile &&
        !equalBytes(present(await store.get(keys.leaf(index)), `leaf hash ${index}`), hash)
      ) {
        throw broken(`leaf hash ${index} (${ordered(index)}) is not that of its block`);
      }
      await push(0, hash, index + 1);
    },
  };
}
