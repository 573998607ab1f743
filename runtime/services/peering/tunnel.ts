/**
 * Tunnels: two gateways that may only dial out meet through a third that both have dialled. The one in the middle
 * joins two CONNECT streams; what goes through them is TLS between the ends, so it sees ciphertext alone.
 */
import { constants, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { quiet } from './quiet.ts';
import { refuse } from './serving.ts';
import type { Session } from './session.ts';

/** Tunnels that one gateway may have through this one, as the end that asked and as the end that is asked. */
export const MAX_TUNNELS = 64;
/** Tunnels from one gateway to one other: the one in use, and the next while it is not yet closed. */
export const MAX_TUNNELS_A_PAIR = 2;
/** A tunnel on which nothing goes for so long is closed; its ends ping each other more often. */
const IDLE_LIMIT_MS = 60_000;

export interface RelayOptions {
  /** A session over which the gateway called so can be asked. */
  readonly sessionTo: (target: string) => Session | undefined;
  readonly log: (level: 'info' | 'warn', message: string) => void;
}

export interface Relay {
  /** Leads a CONNECT stream of `from` on to `target`; answers 404, 429 or 502 when it cannot. */
  lead(from: string, target: string, stream: ServerHttp2Stream): Promise<void>;
  /** Tunnels that are open. */
  open(): number;
}

export function createRelay({ sessionTo, log }: RelayOptions): Relay {
  const counts = new Map<string, number>();
  let open = 0;
  const say = quiet(log);
  const add = (name: string, by: number) => {
    const count = (counts.get(name) ?? 0) + by;
    if (count > 0) counts.set(name, count);
    else counts.delete(name);
  };
  const full = (name: string, most: number) => (counts.get(name) ?? 0) >= most;

  return {
    open: () => open,
    async lead(from, target, stream) {
      const session = sessionTo(target);
      if (!session) return refuse(stream, constants.HTTP_STATUS_NOT_FOUND);
      // No gateway's name has a space.
      const pair = `${from} to ${target}`;
      if (full(pair, MAX_TUNNELS_A_PAIR) || full(from, MAX_TUNNELS) || full(target, MAX_TUNNELS)) {
        say('warn', `no tunnel from ${pair}: there are enough of them`);
        return refuse(stream, constants.HTTP_STATUS_TOO_MANY_REQUESTS);
      }
      open += 1;
      for (const name of [from, target, pair]) add(name, 1);
      let counted = true;
      const release = () => {
        if (!counted) return;
        counted = false;
        open -= 1;
        for (const name of [from, target, pair]) add(name, -1);
      };
      stream.once('close', release);
      try {
        const far = await session.tunnel(target);
        if (stream.destroyed || stream.closed) {
          far.close(constants.NGHTTP2_CANCEL);
          return;
        }
        stream.respond({ ':status': constants.HTTP_STATUS_OK });
        join(stream, far);
        say('info', `tunnel from ${pair}`);
      } catch (error) {
        say('warn', (error as Error).message);
        release();
        refuse(stream, constants.HTTP_STATUS_BAD_GATEWAY);
      }
    },
  };
}

/** Copies both ways, no faster than the slower end takes it, until either ends or both are idle. */
function join(
  near: ServerHttp2Stream,
  far: Duplex & { setTimeout(ms: number, then: () => void): void },
): void {
  const both = () => {
    near.destroy();
    far.destroy();
  };
  for (const end of [near, far]) {
    end.once('close', both);
    end.once('error', both);
    end.setTimeout(IDLE_LIMIT_MS, both);
  }
  near.pipe(far).pipe(near);
}
