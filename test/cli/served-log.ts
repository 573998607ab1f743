/** A log in memory, served over HTTP as C2SP tlog-tiles has it; what is served can be changed. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { encodeBundle } from '../../runtime/core/log/bundle.ts';
import { formatCheckpoint } from '../../runtime/core/log/checkpoint.ts';
import { cosign } from '../../runtime/core/log/cosignature.ts';
import { leafHash } from '../../runtime/core/log/hash.ts';
import { addSignatures, formatNote, signNote } from '../../runtime/core/log/note.ts';
import { readerOf } from '../../runtime/core/log/proof.ts';
import { parseTilePath, TILE_WIDTH } from '../../runtime/core/log/tiles.ts';
import { treeRoot } from '../../runtime/core/log/tree.ts';
import { ownSigners } from '../../runtime/services/witnessing/names.ts';
import { originOf } from '../../runtime/state/agreement/agreement.ts';
import type { Plant } from './plant.ts';

export function leavesOf(count: number, view = ''): readonly Uint8Array[] {
  return Array.from({ length: count }, (_, index) => new TextEncoder().encode(`leaf ${index}${view}`));
}

/** A checkpoint of acme-1's log, cosigned by the parties of these numbers. */
export function noteOf(
  { agreement, parties }: Plant,
  leaves: readonly Uint8Array[],
  by: readonly number[] = [0, 1, 2],
): string {
  const origin = (number: number) => originOf(agreement, agreement.gateways[number]!);
  const root = treeRoot(leaves.map(leafHash));
  const text = formatCheckpoint({ origin: origin(0), size: leaves.length, root, extensions: [] });
  const lines = by.map((number) =>
    cosign(ownSigners(parties[number]!.keys, origin(number)).cosigner, text, 1_772_000_000),
  );
  return formatNote(addSignatures(signNote(text, [ownSigners(parties[0]!.keys, origin(0)).log]), lines));
}

/** Answers in the server's place when it gives true. */
export type Change = (path: string, response: ServerResponse, usual: Uint8Array | undefined) => boolean;

export interface ServedLog {
  readonly url: string;
  show(leaves: readonly Uint8Array[], note: string): void;
  change(change: Change | undefined): void;
  /** The most requests that were open at a time. */
  most(): number;
}

export async function serveLog(t: TestContext): Promise<ServedLog> {
  let leaves: readonly Uint8Array[] = [];
  let note = '';
  let changed: Change | undefined;
  let reader = readerOf([]);
  let [open, most] = [0, 0];

  function usual(path: string): Uint8Array | undefined {
    if (path === 'checkpoint') return new TextEncoder().encode(note);
    const tile = parseTilePath(path);
    if (!tile) return undefined;
    const { level, index, width } = tile;
    const first = index * TILE_WIDTH;
    if (level === 'entries') {
      return first + width > leaves.length ? undefined : encodeBundle(leaves.slice(first, first + width));
    }
    if ((first + width) * TILE_WIDTH ** level > leaves.length) return undefined;
    return Buffer.concat(Array.from({ length: width }, (_, at) => reader(8 * level, first + at)));
  }

  const server = createServer((request, response) => {
    most = Math.max(most, ++open);
    response.once('close', () => open--);
    const path = request.url!.slice(1);
    const body = usual(path);
    if (changed?.(path, response, body)) return;
    if (body) response.end(body);
    else response.writeHead(404).end('no such path\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    show(shown, signed) {
      leaves = shown;
      note = signed;
      reader = readerOf(shown.map(leafHash));
    },
    change(change) {
      changed = change;
    },
    most: () => most,
  };
}
