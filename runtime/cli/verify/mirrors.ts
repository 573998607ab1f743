/** Mirrors in a gateway's directory: rebuilt from their leaves, and compared with tiles, right edge and checkpoint. */
import { equalBytes } from '../../core/encoding/cbor.ts';
import { leafHash } from '../../core/log/hash.ts';
import { createFrontier } from '../../core/log/tree.ts';
import { type LogParty, openStored } from '../../services/witnessing/names.ts';
import { logKeys } from '../../state/journal/keys.ts';
import { decodeFrontier } from '../../state/journal/mirror-log.ts';
import type { Store } from '../../state/journal/store.ts';
import { broken } from './broken.ts';
import { createLogCheck } from './log-records.ts';
import { inRecord } from './stored.ts';

export interface MirrorsReport {
  readonly mirrors: number;
  readonly mirroredLeaves: number;
  /** Mirrors that lack records since the journal was damaged; the log tells of that. */
  readonly incompleteMirrors: number;
}

const PREFIX = 'mirror/';

/**
 * @param mayLack whether records may be gone: the log tells of damage.
 * @throws Broken naming the mirror and the first thing in it that does not fit.
 */
export async function checkMirrors(
  store: Store,
  parties: readonly LogParty[],
  mayLack: boolean,
): Promise<MirrorsReport> {
  let [mirroredLeaves, incompleteMirrors] = [0, 0];
  const names = await mirrorsIn(store);
  for (const name of names) {
    try {
      mirroredLeaves += await checkMirror(store, name, parties);
    } catch (error) {
      if (!mayLack || !('absent' in (error as Error))) throw error;
      incompleteMirrors += 1;
    }
  }
  return { mirrors: names.length, mirroredLeaves, incompleteMirrors };
}

async function mirrorsIn(store: Store): Promise<readonly string[]> {
  const names: string[] = [];
  for (let from = PREFIX; ; ) {
    const key = await store.firstKey({ from, to: `${PREFIX}\uffff` });
    if (key === undefined) return names;
    const name = key.slice(PREFIX.length).split('/')[0]!;
    names.push(name);
    from = `${PREFIX}${name}/\uffff`;
  }
}

async function checkMirror(store: Store, gateway: string, parties: readonly LogParty[]): Promise<number> {
  const what = `mirror of ${gateway}`;
  const log = logKeys(`${PREFIX}${gateway}/`);
  const state = await store.get(`${log.prefix}state`);
  if (!state) throw broken(`${what}: there is no record of how far it reaches`);
  const stored = inRecord(`${what}: right edge`, () => decodeFrontier(state));
  const note = await store.get(`${log.prefix}note`);
  const head = note && checkpointIn(what, note, gateway, parties);
  if (head && head.size > stored.size)
    throw broken(`${what}: its checkpoint is of ${head.size} leaves, it has ${stored.size}`);
  const records = createLogCheck(store, stored.size, { keys: log, what: `${what}: ` });
  const frontier = createFrontier();
  for (let index = 0; index < stored.size; index++) {
    const hash = leafHash(await records.leaf(index));
    await records.add(hash, index);
    frontier.append(hash);
    if (head?.size === index + 1 && !equalBytes(frontier.root(), head.root))
      throw broken(`${what}: its leaves do not lead to the root of its checkpoint of size ${head.size}`);
  }
  const { hashes } = frontier;
  const same =
    hashes.length === stored.hashes.length &&
    hashes.every((hash, at) => equalBytes(hash, stored.hashes[at]!));
  if (!same) throw broken(`${what}: its right edge is not that of its leaves`);
  return stored.size;
}

/** The checkpoint that the mirror reaches; nobody is left to verify that of a gateway of an earlier epoch. */
function checkpointIn(what: string, note: Uint8Array, gateway: string, parties: readonly LogParty[]) {
  const party = parties.find((one) => one.gateway === gateway);
  if (!party) return undefined;
  return inRecord(`${what}: checkpoint`, () => {
    const { checkpoint, unverified } = openStored(note, party, parties);
    if (unverified[0]) throw new Error(`${unverified[0].name} is not a witness of the agreement`);
    return checkpoint;
  });
}
