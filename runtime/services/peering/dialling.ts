/** What this gateway dials and keeps open: the peers it asks, and, if it does not listen, those that ask it. */
import type { BackoffOptions } from './backoff.ts';
import {
  type DialOptions,
  describe,
  dial,
  dialReversed,
  dialThrough,
  type PeerAddress,
  type Reached,
} from './connection.ts';
import { keepOpen, type Lasting, type Trouble } from './lasting.ts';
import type { Served, Serving } from './serving.ts';
import type { Session } from './session.ts';
import type { Standing } from './standing.ts';

export interface DiallingOptions extends DialOptions {
  readonly peers: readonly PeerAddress[];
  /** Whether this gateway can be dialled: then it needs no tunnels, and offers no connection to be asked over. */
  readonly listens: boolean;
  readonly serving: Serving;
  readonly standing: Standing;
  readonly backoff: BackoffOptions;
  readonly log: (level: 'info' | 'warn', message: string) => void;
}

export interface Dialling {
  start(): void;
  stop(): void;
  /** The session over which a peer can be asked now. */
  session(peer: string): Reached | undefined;
  /** Why a peer that this gateway dials cannot be asked. */
  trouble(peer: string): Trouble | undefined;
  /** Why a peer cannot ask this gateway, where that takes a connection from here. */
  deaf(peer: string): Trouble | undefined;
}

/** Relays asked in one attempt to reach a peer; the next attempt begins with another. */
const RELAYS_AN_ATTEMPT = 3;

export function createDialling(options: DiallingOptions): Dialling {
  const { peers, listens, serving, standing, backoff, log } = options;
  const asked = new Map<string, Lasting<Reached>>();
  const offered = new Map<string, Lasting<Served>>();
  let turn = 0;

  async function reach(peer: PeerAddress, signal: AbortSignal): Promise<Reached> {
    const reached = await way(peer, signal);
    return standing.enter(peer.name, reached.key, reached);
  }

  async function way(peer: PeerAddress, signal: AbortSignal): Promise<Reached> {
    const around = () => dialThrough(peer, relays(peer.name), options, signal);
    if (peer.host === undefined) return around();
    const direct = dial(peer, options, signal);
    if (listens) return direct;
    // Nothing may listen at its address while it is connected to others all the same.
    return direct.catch((error: Error) =>
      around().catch(() => {
        throw error;
      }),
    );
  }

  /** Gateways that were dialled themselves, another one first at each attempt. */
  function relays(target: string): { readonly name: string; readonly session: Session }[] {
    const ready = [...asked].flatMap(([name, lasting]) => {
      const session = name === target ? undefined : lasting.current();
      return session && session.through === undefined ? [{ name, session }] : [];
    });
    turn += 1;
    const first = ready.length > 0 ? turn % ready.length : 0;
    return [...ready.slice(first), ...ready.slice(0, first)].slice(0, RELAYS_AN_ATTEMPT);
  }

  async function offer(peer: PeerAddress, signal: AbortSignal): Promise<Served> {
    const { socket, key } = await dialReversed(peer, options, signal);
    const served = serving.serve(socket, peer.name, { tunnelled: false });
    const stopped = () => served.end('stopped');
    signal.addEventListener('abort', stopped);
    await served.spoken.finally(() => signal.removeEventListener('abort', stopped));
    return standing.enter(peer.name, key, served);
  }

  return {
    start() {
      for (const peer of peers) {
        const what = describe(peer);
        const waits = { backoff, log };
        // Who listens waits for those that only dial out; who does not reaches them through others.
        if (peer.host !== undefined || !listens)
          asked.set(
            peer.name,
            keepOpen((signal) => reach(peer, signal), { ...waits, what }),
          );
        if (peer.host !== undefined && !listens)
          offered.set(
            peer.name,
            keepOpen((signal) => offer(peer, signal), { ...waits, what: `${what}, to be asked` }),
          );
      }
    },
    stop() {
      for (const lasting of [...asked.values(), ...offered.values()]) lasting.close();
    },
    session: (peer) => asked.get(peer)?.current(),
    trouble: (peer) => asked.get(peer)?.trouble(),
    deaf: (peer) => offered.get(peer)?.trouble(),
  };
}
