/** Members of a federation in one process, with real journals, and a network between them that can be made bad. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import type { CborValue } from '../../../runtime/core/encoding/cbor.ts';
import { createSign1Signer, type Sign1Signer } from '../../../runtime/core/encoding/cose.ts';
import { initialParameters, type ModelSpec, parameterCount } from '../../../runtime/core/learning/model.ts';
import { createFederation, type Federation } from '../../../runtime/services/federation/federation.ts';
import { type Memory, openMemory } from '../../../runtime/services/federation/memory.ts';
import { messages } from '../../../runtime/services/federation/messages.ts';
import { type Learner, TIMING, type Timing } from '../../../runtime/services/federation/options.ts';
import { createParties, type Parties } from '../../../runtime/services/federation/parties.ts';
import { decodeSet, PATH } from '../../../runtime/services/federation/wire.ts';
import { type Journal, openJournal } from '../../../runtime/state/journal/journal.ts';
import { createClock } from '../../../runtime/state/provenance/clock.ts';
import { openRecorder } from '../../../runtime/state/provenance/recorder.ts';
import type { Consortium, ConsortiumGateway } from '../consortium.ts';
import { FRACTION_BITS } from '../consortium.ts';

export const MODEL: ModelSpec = { kind: 'dense', inputs: 3, hidden: [2], activation: 'tanh' };

export interface Answer {
  readonly status: number;
  readonly body: Uint8Array;
}

/** What becomes of one request; all of it decided before it is sent. */
export interface Fate {
  readonly delayMs?: number;
  readonly loseRequest?: boolean;
  readonly loseAnswer?: boolean;
  readonly twice?: boolean;
}

export interface NetworkOptions {
  readonly consortium: Consortium;
  readonly directory: string;
  readonly timing?: Timing;
  readonly learner?: (gateway: string) => Learner;
  readonly fate?: (from: string, to: string, path: string) => Fate;
}

export interface Member {
  readonly name: string;
  readonly federation: Federation;
  readonly memory: Memory;
  readonly parties: Parties;
  readonly signer: Sign1Signer;
  readonly journal: Journal;
  dead: boolean;
}

/** The room's waits, a tenth as long. */
export const HASTY: Timing = Object.fromEntries(
  Object.entries(TIMING).map(([name, value]) => [name, name === 'poll' ? 10 : value / 10]),
) as unknown as Timing;

/** The update that a gateway asks for at a version: known, different for everybody, within the bound. */
export function updateOf(gateway: string, version: number): Float64Array {
  const seed = [...gateway].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), version * 7919);
  return Float64Array.from(
    { length: parameterCount(MODEL) },
    (_, index) => Math.sin(seed + index * 1.7) * 0.5,
  );
}

export const honest = (gateway: string): Learner => ({
  readiness: () => ({ kind: 'ready' }),
  update: async (_round, version) => updateOf(gateway, version),
});

export type Network = Awaited<ReturnType<typeof createNetwork>>;

export async function createNetwork(options: NetworkOptions) {
  const { consortium } = options;
  const { agreement } = consortium;
  const members = new Map<string, Member>();
  /** Directed pairs that cannot reach each other, as `a b`. */
  const cut = new Set<string>();
  const logged: string[] = [];
  const faults: string[] = [];
  /** version -> hashes that somebody had for it. */
  const hashes = new Map<number, Set<string>>();
  const parameters = new Map<number, Float64Array>();
  /** version -> who contributed, from the log's entries. */
  const contributors = new Map<number, readonly string[]>();
  const signedSets = new Map<string, string>();
  const openedWith = new Map<string, string>();
  let intercept:
    | ((
        from: string,
        to: string,
        path: string,
        body: Uint8Array,
      ) => Answer | undefined | Promise<Answer | undefined>)
    | undefined;

  const reachable = (from: string, to: string) =>
    from === to ||
    (!cut.has(`${from} ${to}`) && !cut.has(`${to} ${from}`) && members.get(to)?.dead === false);

  /** What the rules say of answers that are on their way: looked at even when they are lost. */
  function watch(to: string, path: string, body: Uint8Array, answer: Answer, parties: Parties): void {
    if (answer.status !== 200) return;
    if (path === PATH.set) {
      const { round, set } = messages.set.open(answer.body, parties, to);
      const key = `${to} ${round}`;
      const before = signedSets.get(key) ?? toHex(set);
      if (before !== toHex(set)) faults.push(`${to} signed two sets of round ${round}`);
      signedSets.set(key, before);
    }
    if (path === PATH.open) {
      const { round, reports } = decodeSet(body);
      const identity = reports.map((report) => `${report.contributor}:${toHex(report.reportHash)}`).join();
      for (const { contributor } of reports) {
        const key = `${contributor} ${round}`;
        const before = openedWith.get(key) ?? identity;
        if (before !== identity) faults.push(`${contributor} is in two opened sums of round ${round}`);
        openedWith.set(key, before);
      }
    }
  }

  async function serve(from: string, to: string, path: string, body: Uint8Array): Promise<Answer> {
    const given = await intercept?.(from, to, path, body);
    if (given) return given;
    const member = members.get(to);
    if (!member || member.dead) throw new Error(`${to}: connection refused`);
    const answer = await member.federation.handle(from, path, Uint8Array.from(body));
    if (!answer) throw new Error(`${path} is not the federation's`);
    watch(to, path, body, answer, member.parties);
    if (member.dead) throw new Error(`${to}: connection reset`);
    return answer;
  }

  async function request(
    from: Member,
    to: string,
    path: string,
    body: Uint8Array,
    limitMs = 5000,
  ): Promise<Answer> {
    const fate = options.fate?.(from.name, to, path) ?? {};
    const check = () => {
      if (from.dead || !reachable(from.name, to)) throw new Error(`${to}: not reachable`);
    };
    const exchange = async () => {
      check();
      if (fate.delayMs) await pause(fate.delayMs);
      check();
      if (fate.loseRequest) throw new Error(`${to}: connection lost before the request`);
      if (fate.twice) void serve(from.name, to, path, body).catch(() => undefined);
      const answer = await serve(from.name, to, path, body);
      check();
      if (fate.loseAnswer) throw new Error(`${to}: connection lost before the answer`);
      return answer;
    };
    return within(exchange(), limitMs, `${to}: no answer to ${path}`);
  }

  function observe(name: string, version: number, hash: Uint8Array, values: Float64Array): void {
    const known = hashes.get(version) ?? new Set();
    hashes.set(version, known.add(toHex(hash)));
    if (known.size > 1) faults.push(`version ${version} has ${known.size} hashes, the last at ${name}`);
    parameters.set(version, values);
  }

  async function open(gateway: ConsortiumGateway): Promise<Member> {
    const { name, keys } = gateway;
    const journal = await openJournal(join(options.directory, name), {
      commitIntervalMs: 5,
      maxBytes: 1e9,
      maxDiskBytes: 2_000_000_000,
      maxPendingBytes: 1e8,
    });
    const recorder = await openRecorder(journal, keys, createClock());
    const initial = initialParameters(MODEL, agreement.hash);
    const memory = await openMemory(
      journal,
      MODEL,
      initial,
      toHex(agreement.hash),
      agreement.terms.federation.averageLast,
    );
    const present = memory.model();
    observe(name, present.head.version, present.head.hash, present.parameters);
    const parties = createParties(agreement, name);
    const signer = createSign1Signer(keys.sample);
    const federation = createFederation({
      parties,
      model: MODEL,
      memory,
      signer,
      learner: (options.learner ?? honest)(name),
      request: (peer, path, body, limitMs) => request(member, peer, path, body, limitMs),
      connected: (peer) => !member.dead && reachable(name, peer),
      logRound: async (body, writes) => {
        await recorder.entry('round', body, writes);
        noteRound(body);
      },
      onModel: (recent) => {
        const { head, parameters: values } = recent.at(-1)!;
        observe(name, head.version, head.hash, values);
      },
      log: (level, message) => void logged.push(`${name} ${level} ${message}`),
      timing: options.timing ?? TIMING,
    });
    const member: Member = { name, federation, memory, parties, signer, journal, dead: false };
    return member;
  }

  function noteRound(body: CborValue): void {
    const [, version, , , names] = body as readonly CborValue[];
    if (Array.isArray(names)) contributors.set(version as number, names as readonly string[]);
  }

  async function up(name: string, start = true): Promise<Member> {
    const member = await open(consortium.gateways.find((gateway) => gateway.name === name)!);
    members.set(name, member);
    if (start) member.federation.start();
    return member;
  }

  async function crash(name: string): Promise<void> {
    const member = members.get(name)!;
    if (member.dead) return;
    member.dead = true;
    await member.federation.stop();
    await member.journal.close();
  }

  return {
    names: consortium.gateways.map((gateway) => gateway.name),
    logged,
    faults,
    contributors,
    up,
    crash,
    async startAll() {
      for (const { name } of consortium.gateways) await up(name, false);
      for (const member of members.values()) member.federation.start();
    },
    async openAll() {
      for (const { name } of consortium.gateways) await up(name, false);
    },
    async stopAll() {
      await Promise.all([...members.keys()].map(crash));
    },
    member: (name: string) => members.get(name)!,
    alive: () => [...members.values()].filter((member) => !member.dead),
    cutBetween(some: readonly string[], others: readonly string[]) {
      for (const a of some) for (const b of others) cut.add(`${a} ${b}`);
    },
    heal: () => cut.clear(),
    onRequest(handler: typeof intercept) {
      intercept = handler;
    },
    version: (name: string) => members.get(name)!.memory.model().head.version,
    /** Every model that was ever seen is the mean of its contributors' updates on top of the one before. */
    checkModels() {
      assert.deepEqual(faults, []);
      const compared: number[] = [];
      for (const [version, values] of parameters) {
        const before = parameters.get(version - 1);
        const names = contributors.get(version);
        if (version === 0 || !before || !names) continue;
        const updates = names.map((name) => updateOf(name, version - 1));
        for (const [index, value] of values.entries()) {
          const mean = updates.reduce((sum, update) => sum + update[index]!, 0) / names.length;
          const error = Math.abs(value - before[index]! - mean);
          assert.ok(
            error <= 2 ** -FRACTION_BITS + 1e-12,
            `version ${version}, parameter ${index}: off by ${error}`,
          );
        }
        compared.push(version);
      }
      assert.ok(compared.length > 0, 'no model could be compared with the mean of the updates');
    },
  };
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function within<T>(work: Promise<T>, limitMs: number, why: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(why)), limitMs);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
