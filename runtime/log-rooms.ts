/** The rooms around a gateway's log, put together: keys, publisher, witness, mirrors and gossip, strangers. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { quorum } from './core/log/policy.ts';
import type { GatewayOptions } from './gateway-options.ts';
import type { Peering } from './services/peering/peering.ts';
import { mirrorsOf } from './services/witnessing/assignment.ts';
import { createExchange } from './services/witnessing/exchange.ts';
import { foreignFault, foreignLogs } from './services/witnessing/foreign.ts';
import { type LogParty, logParties, ownSigners } from './services/witnessing/names.ts';
import { createOutside } from './services/witnessing/outside.ts';
import { createPublisher } from './services/witnessing/publisher.ts';
import { createWitness } from './services/witnessing/witness.ts';
import { ADD_CHECKPOINT, createWitnessing } from './services/witnessing/witnessing.ts';
import { replaceFile } from './state/files.ts';
import type { Journal } from './state/journal/journal.ts';
import type { Write } from './state/journal/store.ts';
import { addStatementsOf, openRoster, ownKeysFault, type Roster } from './state/provenance/roster.ts';

/** The roster of everybody's keys, and this gateway's own judged by it. @throws Error when they are not its any more. */
export async function openKeys(options: GatewayOptions, journal: Journal): Promise<Roster> {
  const { agreement, settings, keys, log } = options;
  const { name, directory } = settings.gateway;
  const warn = (message: string) => log('keys')('warn', message);
  const storage = {
    section: journal.section('roster'),
    write: (writes: readonly Write[]) => journal.write(writes),
  };
  const roster = await openRoster(agreement, { storage, now: Date.now, warn });
  await addStatementsOf(roster, directory, warn);
  const fault = ownKeysFault(roster, name, keys);
  if (fault) throw new Error(fault);
  return roster;
}

/** Nothing runs until `start`; `open` reads what is stored. @throws Error when a witness or log from outside has a member's key. */
export function createLogRooms(
  { agreement, keys, settings, log }: GatewayOptions,
  journal: Journal,
  peering: Peering,
  roster: Roster,
  /** What stands against signing checkpoints, and against cosigning: see standing.ts. */
  standing: {
    readonly heldBack: () => string | undefined;
    readonly unsure: () => string | undefined;
  },
) {
  const { directory, name } = settings.gateway;
  const parties = logParties(agreement, roster);
  const self = parties.find((party) => party.gateway === name)!;
  const signers = ownSigners(keys, self.origin);
  const report = log('witnessing');
  const outsiders = settings.witnessing;
  const fault = foreignFault(outsiders, parties);
  if (fault) throw new Error(fault);
  const foreign = foreignLogs(outsiders);
  const publisher = createPublisher({
    journal,
    self,
    others: parties.filter((party) => party !== self),
    ...signers,
    quorum: quorum(agreement.members.length),
    ask: (gateway, body) => peering.request(gateway, ADD_CHECKPOINT, new TextEncoder().encode(body)),
    connected: (gateway) => peering.connected(gateway),
    isDisgraced: (member) => exchange.isDisgraced(member),
    heldBack: standing.heldBack,
    padding: agreement.terms.log.padding,
    foreignIntervalMs: outsiders.foreignWitness.length > 0 ? outsiders.foreignIntervalMs : 0,
    report,
  });
  const witness = createWitness({
    journal,
    cosigner: signers.cosigner,
    verifiersOf: (origin) => parties.find((party) => party.origin === origin)?.logs ?? foreign.get(origin),
    frozen: (origin) => exchange.frozen(origin),
    unsure: standing.unsure,
    onSigned(checkpoint) {
      exchange.signed(checkpoint);
      // At once, when it is cosigned: what no mirror has cannot be taken back from one. Twice, since one that is
      // under way may have looked already.
      if (checkpoint.grownFrom !== undefined)
        setImmediate(() => void exchange.pull().then(() => exchange.pull()));
    },
    log: report,
  });
  const exchange = createExchange({
    journal,
    agreement: agreement.hash,
    parties,
    self: name,
    newest: () => publisher.newest(),
    cosigned: () => publisher.cosigned(),
    witnessed: (origin) => witness.newest(origin),
    held: (origin) => witness.held(origin),
    request: (peer, path, body, limitMs, maxBytes) => peering.request(peer, path, body, limitMs, maxBytes),
    connected: (peer) => peering.connected(peer),
    async save(file, text) {
      await mkdir(join(directory, 'evidence'), { recursive: true });
      await replaceFile(join(directory, 'evidence', file), text);
    },
    settings: { ...settings.mirror, maxBytes: mirrorBytes(settings, agreement, parties, name) },
    report,
  });
  const witnessing = createWitnessing({
    journal,
    publisher,
    witness,
    intervalMs: agreement.terms.log.checkpointInterval,
    log: report,
  });
  const outside = createOutside({
    settings,
    self,
    parties,
    journal,
    publisher,
    witness,
    mirrored: (path) => exchange.read(path),
    log: log('public'),
  });
  return { publisher, witness, exchange, witnessing, outside };
}

export type LogRooms = ReturnType<typeof createLogRooms>;

/** Mirrors of others' logs never take more than a quarter of the disk together: the rest is for what is recorded here. */
function mirrorBytes(
  { mirror, journal }: GatewayOptions['settings'],
  agreement: GatewayOptions['agreement'],
  parties: readonly LogParty[],
  name: string,
): number {
  const mirrored = parties.filter((party) => mirrorsOf(agreement.hash, parties, party).includes(name)).length;
  return Math.min(mirror.maxBytes, Math.floor(journal.maxDiskBytes / (4 * Math.max(1, mirrored))));
}
