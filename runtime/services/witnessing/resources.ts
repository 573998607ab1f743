/** What anybody may read of a gateway's log (C2SP tlog-tiles), and what its witness has cosigned (C2SP tlog-witness). */
import { parseTilePath, tileWidth } from '../../core/log/tiles.ts';
import { MIRROR } from './mirrors.ts';
import type { Answer } from './witnessing.ts';

/** What the public is served from. */
export interface PublicSource {
  /** The checkpoint to show, as a note; undefined before the first. */
  checkpoint(): string | undefined;
  /** The size of the newest checkpoint that was signed: what the log has beyond it is nobody's yet. */
  published(): number;
  /** @throws Error when they cannot be read. */
  tile(level: number, index: number, width: number): Promise<Uint8Array>;
  /** An entry bundle. @throws Error when it cannot be read. */
  entries(index: number, width: number): Promise<Uint8Array>;
  /** This epoch's policy (C2SP tlog-policy). */
  policy(): string;
  /** Origins of the logs that this gateway's witness knows. */
  origins(): readonly string[];
  /** The newest checkpoint of a log that this witness has cosigned. */
  witnessed(origin: string): Promise<string | undefined>;
  /** Answers for a log that this gateway mirrors; undefined for one that it does not. */
  mirrored(path: string): Promise<Answer> | undefined;
}

export interface Resource {
  readonly status: 200 | 404;
  readonly body: Uint8Array;
  readonly contentType: string;
  readonly cacheControl: string;
}

const TEXT = 'text/plain; charset=utf-8';
/** What a path of this kind names never changes. */
const FOR_EVER = 'public, max-age=31536000, immutable';
const NOT_STORED = 'no-store';

/** Prefix under which the checkpoints of witnessed logs stand; apart from it a mirror of them may have its own. */
const WITNESS_PREFIX = '/witness/';

export interface Resources {
  /** What a path names; undefined for a path that can never name anything. */
  read(path: string): Promise<Resource> | undefined;
}

/** @param sha256Hex gives the hash of an origin, as lower-case hexadecimal digits. */
export function createResources(source: PublicSource, sha256Hex: (text: string) => string): Resources {
  const hashes = new Map<string, string>();

  function hashOf(origin: string): string {
    const known = hashes.get(origin) ?? sha256Hex(origin);
    hashes.set(origin, known);
    return known;
  }

  async function tile(path: string): Promise<Resource> {
    const wanted = parseTilePath(path.slice(1));
    if (!wanted) return absent('no such tile\n');
    const { level, index, width } = wanted;
    if (width > tileWidth(level, index, source.published())) return absent('the log has no such tile yet\n');
    const body = level === 'entries' ? source.entries(index, width) : source.tile(level, index, width);
    return {
      status: 200,
      body: await body,
      contentType: 'application/octet-stream',
      cacheControl: FOR_EVER,
    };
  }

  async function witnessed(path: string): Promise<Resource> {
    const hash = /^\/witness\/([0-9a-f]{64})\/checkpoint$/.exec(path)?.[1];
    const origin = hash && source.origins().find((candidate) => hashOf(candidate) === hash);
    const note = origin ? await source.witnessed(origin) : undefined;
    return note === undefined ? absent('no checkpoint of such a log was cosigned\n') : text(note, 'no-cache');
  }

  async function mirrored(path: string): Promise<Resource> {
    const answer = await source.mirrored(path);
    if (answer?.status !== 200) return absent('no such log, or not so much of it, is mirrored here\n');
    const isText = path.endsWith('/checkpoint');
    return {
      status: 200,
      body: answer.body,
      contentType: isText ? TEXT : 'application/octet-stream',
      cacheControl: isText ? 'no-cache' : FOR_EVER,
    };
  }

  return {
    read(path) {
      if (path === '/checkpoint') {
        const note = source.checkpoint();
        return Promise.resolve(note === undefined ? absent('no checkpoint yet\n') : text(note, 'no-cache'));
      }
      if (path === '/policy') return Promise.resolve(text(source.policy(), 'max-age=60'));
      if (path.startsWith('/tile/')) return tile(path);
      if (path.startsWith(MIRROR)) return mirrored(path);
      return path.startsWith(WITNESS_PREFIX) ? witnessed(path) : undefined;
    },
  };
}

function text(content: string, cacheControl: string): Resource {
  return { status: 200, body: new TextEncoder().encode(content), contentType: TEXT, cacheControl };
}

function absent(why: string): Resource {
  return { status: 404, body: new TextEncoder().encode(why), contentType: TEXT, cacheControl: NOT_STORED };
}
