import { filtersMeet } from './topics.ts';

/** A subscription as aedes hands it over. */
export interface Subscription {
  readonly topic: string;
  readonly qos: number;
}

/** The part of aedes' memory that is watched and bounded here; the rest of it stays as it is. */
export interface BrokerMemory {
  addSubscriptions(client: { readonly id: string }, subscriptions: readonly Subscription[]): Promise<void>;
  removeSubscriptions(client: { readonly id: string }, topics: readonly string[]): Promise<void>;
  cleanSubscriptions(client: { readonly id: string }): Promise<void>;
  outgoingEnqueueCombi(
    subscriptions: readonly { readonly clientId: string }[],
    packet: unknown,
  ): Promise<void>;
  outgoingClearMessageId(
    client: { readonly id: string },
    packet: { readonly messageId?: number },
  ): Promise<{ readonly messageId?: number } | undefined>;
  outgoingUpdate(client: { readonly id: string }, packet: unknown): Promise<void>;
  outgoingStream(client: { readonly id: string }): AsyncIterable<{ readonly messageId?: number }>;
  storeRetained(packet: { readonly topic: string; readonly payload: Uint8Array }): PromiseLike<void>;
}

export interface SessionLimits {
  readonly maxSessions: number;
  readonly maxSubscriptions: number;
  readonly maxRetained: number;
  /** Messages a session may have waiting. */
  readonly queueLimit: number;
}

/** The persistent sessions of the embedded broker: who they are, what they ask for, how much waits for them. */
export interface Sessions {
  /** Whether every session that asks for something of `stream` (a filter) has room, or none asks. */
  stateOf(stream: string): 'held' | 'full' | 'none';
  /** Whether `clientId` may subscribe to `topic` in a persistent session. */
  admits(clientId: string, topic: string): boolean;
  /**
   * The subscription is complete. What is published between its being stored and this goes to the session's
   * queue and stays there until the client connects again: it must not count as held.
   */
  confirm(clientId: string, topic: string): void;
  /** Forgets the sessions, and what waits for them, that `isAway` says have been away too long. */
  expire(isAway: (clientId: string) => boolean): Promise<void>;
}

interface Session {
  readonly filters: Map<string, { readonly qos: number; live: boolean }>;
  queued: number;
  /** Stays set until half of the queue is gone, so that a slow reader does not make it flicker. */
  full: boolean;
}

/**
 * Wraps the methods of aedes' memory so that sessions are counted and everything in it has a bound. A
 * message for a full session is left out of its queue; samples come again from the journal, since they
 * are not reported as held meanwhile. `onRoom` is called when what was not held may be held from now on.
 */
export function boundSessions(memory: BrokerMemory, limits: SessionLimits, onRoom: () => void): Sessions {
  const sessions = new Map<string, Session>();
  const inner = {
    add: memory.addSubscriptions.bind(memory),
    remove: memory.removeSubscriptions.bind(memory),
    clean: memory.cleanSubscriptions.bind(memory),
    enqueue: memory.outgoingEnqueueCombi.bind(memory),
    update: memory.outgoingUpdate.bind(memory),
    clear: memory.outgoingClearMessageId.bind(memory),
    retain: memory.storeRetained.bind(memory),
  };

  const admits = (clientId: string, topic: string): boolean => {
    const session = sessions.get(clientId);
    if (session === undefined) return sessions.size < limits.maxSessions;
    return session.filters.has(topic) || session.filters.size < limits.maxSubscriptions;
  };

  memory.addSubscriptions = (client, subscriptions) => {
    const admitted = subscriptions.filter(({ topic, qos }) => {
      if (!admits(client.id, topic)) return false;
      const session = sessions.get(client.id) ?? { filters: new Map(), queued: 0, full: false };
      sessions.set(client.id, session);
      session.filters.set(topic, { qos, live: session.filters.get(topic)?.qos === qos });
      return true;
    });
    return inner.add(client, admitted);
  };
  memory.removeSubscriptions = (client, topics) => {
    const session = sessions.get(client.id);
    for (const topic of topics) session?.filters.delete(topic);
    return inner.remove(client, topics);
  };
  memory.cleanSubscriptions = async (client) => {
    const gone = sessions.delete(client.id);
    await inner.clean(client);
    // The one that was full may have gone.
    if (gone) onRoom();
  };
  memory.outgoingEnqueueCombi = (subscriptions, packet) => {
    // Twice the limit is the hard bound: messages already promised to be held still find their place.
    const admitted = subscriptions.filter(
      ({ clientId }) => (sessions.get(clientId)?.queued ?? 0) < 2 * limits.queueLimit,
    );
    for (const { clientId } of admitted) count(sessions.get(clientId), 1, limits.queueLimit);
    return inner.enqueue(admitted, packet);
  };
  memory.outgoingUpdate = async (client, packet) => {
    try {
      await inner.update(client, packet);
    } catch (error) {
      // The message was left out of a full queue. The client is connected: it gets the message all the same,
      // where aedes would end its connection.
      if (!(error instanceof Error) || error.message !== 'no such packet') throw error;
    }
  };
  memory.outgoingClearMessageId = async (client, packet) => {
    // aedes asks so for a message that it does not forward; its memory would clear some other one.
    if (packet.messageId === undefined) return undefined;
    const cleared = await inner.clear(client, packet);
    const session = sessions.get(client.id);
    const wasFull = session?.full;
    if (cleared !== undefined) count(session, -1, limits.queueLimit);
    if (wasFull && !session?.full) onRoom();
    return cleared;
  };
  boundRetained(memory, inner.retain, limits.maxRetained);

  return {
    admits,
    confirm(clientId, topic) {
      const filter = sessions.get(clientId)?.filters.get(topic);
      if (filter === undefined) return;
      filter.live = true;
      onRoom();
    },
    stateOf(stream) {
      const asking = [...sessions.values()].filter(({ filters }) => asksFor(filters, stream));
      if (asking.length === 0) return 'none';
      return asking.some(({ full }) => full) ? 'full' : 'held';
    },
    async expire(isAway) {
      for (const id of [...sessions.keys()].filter(isAway)) {
        for await (const packet of memory.outgoingStream({ id })) await inner.clear({ id }, packet);
        await memory.cleanSubscriptions({ id });
      }
    },
  };
}

function asksFor(filters: Session['filters'], stream: string): boolean {
  // With QoS 0 a session keeps nothing while its client is away.
  for (const [filter, { qos, live }] of filters)
    if (live && qos > 0 && filtersMeet(filter, stream)) return true;
  return false;
}

function count(session: Session | undefined, change: 1 | -1, limit: number): void {
  if (session === undefined) return;
  session.queued = Math.max(0, session.queued + change);
  if (session.queued >= limit) session.full = true;
  else if (session.queued <= limit / 2) session.full = false;
}

function boundRetained(memory: BrokerMemory, retain: BrokerMemory['storeRetained'], limit: number): void {
  const topics = new Set<string>();
  memory.storeRetained = (packet) => {
    if (packet.payload.length === 0) topics.delete(packet.topic);
    else if (topics.size < limit) topics.add(packet.topic);
    return topics.has(packet.topic) || packet.payload.length === 0 ? retain(packet) : Promise.resolve();
  };
}
