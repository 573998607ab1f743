/** Connections that stand: whose they are, by which key, and which of several of one peer counts. */
import { equalBytes } from '../../core/encoding/cbor.ts';
import type { Ending } from './lasting.ts';

export interface Standing {
  /** Counts a connection as standing, until it ends. @throws Error when the key is not the peer's (any more). */
  enter<T extends Ending>(peer: string, key: Uint8Array, connection: T): T;
  /** Ends what stands by a key that is no longer its peer's. */
  recheck(): void;
  endAll(why: string): void;
}

const WITHDRAWN = 'its key is no longer valid';

/** `keysOf` gives a peer's keys at this moment. */
export function createStanding(keysOf: (peer: string) => readonly Uint8Array[]): Standing {
  const standing = new Set<{ peer: string; key: Uint8Array; connection: Ending }>();
  const valid = (peer: string, key: Uint8Array) => keysOf(peer).some((known) => equalBytes(known, key));
  return {
    enter(peer, key, connection) {
      // It was valid in the handshake, and may have been withdrawn since.
      if (!valid(peer, key)) {
        connection.end(WITHDRAWN);
        throw new Error(WITHDRAWN);
      }
      const entry = { peer, key, connection };
      standing.add(entry);
      void connection.ended.then(() => standing.delete(entry));
      return connection;
    },
    recheck() {
      for (const { peer, key, connection } of standing) if (!valid(peer, key)) connection.end(WITHDRAWN);
    },
    endAll(why) {
      for (const { connection } of standing) connection.end(why);
    },
  };
}

/** One connection a peer, the newest. */
export interface Seats<T> {
  /** Takes the place of an older one, which ends: the peer knows best which of its connections it uses. */
  take(peer: string, fresh: T): void;
  get(peer: string): T | undefined;
  /** Since when nobody has sat there, milliseconds since 1970. */
  emptySince(peer: string): number;
}

export function createSeats<T extends Ending>(): Seats<T> {
  const began = Date.now();
  const seats = new Map<string, T>();
  const left = new Map<string, number>();
  return {
    take(peer, fresh) {
      const old = seats.get(peer);
      seats.set(peer, fresh);
      old?.end('the peer has made a newer connection');
      void fresh.ended.then(() => {
        if (seats.get(peer) !== fresh) return;
        seats.delete(peer);
        left.set(peer, Date.now());
      });
    },
    get(peer) {
      const seated = seats.get(peer);
      return seated?.alive() ? seated : undefined;
    },
    emptySince: (peer) => left.get(peer) ?? began,
  };
}
