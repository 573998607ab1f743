/**
 * Gateways with their logs, witnesses, mirrors and gossip in one process, with real journals, and a network
 * between them that does what a test says. A gateway that lies is two of one name and one set of keys, each
 * showing its face to one side.
 */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { quorum } from '../../../runtime/core/log/policy.ts';
import { createExchange, type Exchange } from '../../../runtime/services/witnessing/exchange.ts';
import { logParties, ownSigners } from '../../../runtime/services/witnessing/names.ts';
import { createPublisher } from '../../../runtime/services/witnessing/publisher.ts';
import { createWitness } from '../../../runtime/services/witnessing/witness.ts';
import { ADD_CHECKPOINT, createWitnessing } from '../../../runtime/services/witnessing/witnessing.ts';
import { openJournal } from '../../../runtime/state/journal/journal.ts';
import { type Consortium, createConsortium, temporaryDirectory } from '../consortium.ts';

const JOURNAL = { commitIntervalMs: 2, maxBytes: 1e9, maxDiskBytes: 2_000_000_000, maxPendingBytes: 1e8 };

export interface Answer {
  readonly status: number;
  readonly body: Uint8Array;
}

/** What becomes of a request; undefined lets it pass. */
export type Fate = (
  from: Node,
  to: string,
  path: string,
  body: Uint8Array,
  pass: () => Promise<Answer>,
) => Promise<Answer> | undefined;

export type Side = 'A' | 'B';
export interface Node extends Awaited<ReturnType<typeof openNode>> {}

interface Place {
  readonly consortium: Consortium;
  readonly directory: string;
  readonly side: Side | undefined;
  readonly maxBytes: number;
  readonly limitMs: number;
  readonly heldBack: (node: Node) => string | undefined;
  readonly request: (from: Node, to: string, path: string, body: Uint8Array) => Promise<Answer>;
  readonly connected: (from: Node, to: string) => boolean;
}

async function openNode(name: string, place: Place) {
  const { consortium, directory, side } = place;
  const { agreement } = consortium;
  const { keys } = consortium.gateways.find((gateway) => gateway.name === name)!;
  const journal = await openJournal(join(directory, `${name}${side ?? ''}`), JOURNAL);
  const parties = logParties(agreement);
  const self = parties.find((party) => party.gateway === name)!;
  const signers = ownSigners(keys, self.origin);
  const reports: string[] = [];
  const files = new Map<string, string>();
  const report = (level: string, message: string) => void reports.push(`${level} ${message}`);
  const clock = { now: 0 };
  const witness = createWitness({
    journal,
    cosigner: signers.cosigner,
    verifiersOf: (origin) => parties.find((candidate) => candidate.origin === origin)?.logs,
    log: report,
    frozen: (origin) => exchange.frozen(origin),
    onSigned: (checkpoint) => exchange.signed(checkpoint),
  });
  const publisher = createPublisher({
    journal,
    self,
    others: parties.filter((party) => party !== self),
    ...signers,
    quorum: quorum(agreement.members.length),
    ask: (peer, body) => place.request(node, peer, ADD_CHECKPOINT, new TextEncoder().encode(body)),
    connected: (peer) => place.connected(node, peer),
    heldBack: () => place.heldBack(node),
    isDisgraced: (member) => exchange.isDisgraced(member),
    report,
  });
  const witnessing = createWitnessing({ journal, publisher, witness, intervalMs: 1e6, log: report });
  const exchange: Exchange = createExchange({
    journal,
    agreement: agreement.hash,
    parties,
    self: name,
    newest: () => publisher.newest(),
    cosigned: () => publisher.cosigned(),
    witnessed: (origin) => witness.newest(origin),
    held: (origin) => witness.held(origin),
    request: (peer, path, body) => place.request(node, peer, path, body),
    connected: (peer) => place.connected(node, peer),
    save: async (file, text) => void files.set(file, text),
    settings: {
      intervalMs: 1e6,
      gossipIntervalMs: 0,
      requestLimitMs: place.limitMs,
      maxBytes: place.maxBytes,
    },
    now: () => clock.now,
    report,
  });
  await exchange.open();
  await publisher.open();
  const node = {
    name,
    side,
    keys,
    self,
    parties,
    journal,
    witness,
    publisher,
    exchange,
    signers,
    reports,
    files,
    clock,
    handle: async (from: string, path: string, body: Uint8Array): Promise<Answer> =>
      (await exchange.handle(from, path, body)) ??
      (await witnessing.handle(path, body)) ?? { status: 404, body: new Uint8Array(0) },
    /** Adds leaves. */
    async grow(count: number) {
      for (let left = count; left > 0; left -= 4000) await journal.pad(Math.min(left, 4000));
    },
    async publish() {
      await publisher.publish();
      await publisher.asked();
    },
    /** Mirrors what is new, whatever the last failure. */
    async pull() {
      clock.now += 1e9;
      await exchange.pull();
    },
  };
  return node;
}

export interface NetworkOptions {
  readonly fleets: readonly number[];
  /** Gateways that show two faces. */
  readonly liars?: readonly string[];
  /** Gateways that do not run. */
  readonly absent?: readonly string[];
  /** Which side an honest gateway is on; A when absent. */
  readonly sideOf?: (name: string) => Side;
  readonly maxMirrorBytes?: number;
  /** How long a mirror's or gossip's request may take. */
  readonly limitMs?: number;
  /** Why a gateway signs no checkpoint. */
  readonly heldBack?: (node: Node) => string | undefined;
}

export type Network = Awaited<ReturnType<typeof createNetwork>>;

export async function createNetwork(t: TestContext, options: NetworkOptions) {
  const consortium = createConsortium({ fleets: options.fleets });
  const directory = await temporaryDirectory(t);
  const {
    liars = [],
    absent = [],
    sideOf = () => 'A',
    maxMirrorBytes = 1e9,
    limitMs = 20_000,
    heldBack = () => undefined,
  } = options;
  const nodes: Node[] = [];
  let fate: Fate = () => undefined;
  const viewOf = (node: Node): Side => node.side ?? sideOf(node.name);
  const resolve = (from: Node, to: string) =>
    nodes.find((node) => node.name === to && (node.side === undefined || node.side === viewOf(from)));

  const place = {
    consortium,
    directory,
    maxBytes: maxMirrorBytes,
    limitMs,
    heldBack,
    async request(from: Node, to: string, path: string, body: Uint8Array): Promise<Answer> {
      const pass = async () => {
        const node = resolve(from, to);
        if (!node) throw new Error(`${to}: not reachable`);
        return node.handle(from.name, path, Uint8Array.from(body));
      };
      return fate(from, to, path, body, pass) ?? pass();
    },
    connected(from: Node, to: string): boolean {
      const node = resolve(from, to);
      // A liar's face is turned to its side only.
      return node !== undefined && (from.side === undefined || viewOf(node) === from.side);
    },
  };

  async function open(name: string, side?: Side): Promise<Node> {
    const node = await openNode(name, { ...place, side });
    nodes.push(node);
    return node;
  }

  for (const { name } of consortium.gateways) {
    if (absent.includes(name)) continue;
    if (liars.includes(name)) for (const side of ['A', 'B'] as const) await open(name, side);
    else await open(name);
  }
  t.after(() => Promise.all(nodes.map((node) => node.journal.close())));

  return {
    consortium,
    directory,
    request: place.request,
    open: (name: string, where: string) =>
      openNode(name, { ...place, side: undefined, directory: join(directory, where) }),
    nodes: () => nodes,
    node: (name: string, side?: Side) => nodes.find((node) => node.name === name && node.side === side)!,
    honest: () => nodes.filter((node) => node.side === undefined),
    onRequest(handler: Fate) {
      fate = handler;
    },
    /** Closes a gateway and opens it again from its directory, or from what `meanwhile` makes of it. */
    async restart(
      name: string,
      meanwhile: (directory: string) => Promise<void> = async () => {},
    ): Promise<Node> {
      const index = nodes.findIndex((node) => node.name === name);
      await nodes[index]!.journal.close();
      nodes.splice(index, 1);
      await meanwhile(join(directory, name));
      return open(name);
    },
    async publishAll() {
      for (const node of nodes) await node.publish();
    },
    async pullAll() {
      for (const node of nodes) await node.pull();
    },
    async gossip(rounds = 1) {
      for (let round = 0; round < rounds; round++) for (const node of nodes) await node.exchange.gossip();
    },
  };
}

/** What a request that is not answered comes to, without the wait. */
export const unanswered = (): Promise<Answer> => Promise.reject(new Error('no answer in time'));

/** An answer that never comes. */
export const never = (): Promise<Answer> => new Promise(() => {});
