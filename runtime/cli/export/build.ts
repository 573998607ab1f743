/** Builds a bundle: the entries that are wanted, and all that leads from them to a checkpoint. */
import { sha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import { encodeExport, MAX_EXPORT_BYTES } from '../../core/log/export.ts';
import { planMultiproof } from '../../core/log/multiproof.ts';
import type { Witnessed } from '../../core/log/policy.ts';
import { readProof } from '../../core/log/proof.ts';
import { hashReaderFromTiles, type TileSource } from '../../core/log/tiles.ts';
import { didYouMean } from '../../state/settings/suggest.ts';
import { formatDuration } from '../../state/settings/units.ts';
import { problem } from '../terminal/problem.ts';
import { type AgreementTrust, policyTextFor } from '../verify/trust.ts';
import { type CoveringCheckpoint, newestCheckpoints } from './checkpoints.ts';
import { type Collected, collect } from './collect.ts';
import { describeSelection, isClosed, type Selection } from './selection.ts';
import type { ExportReader } from './sources.ts';

export interface BuildOptions {
  readonly reader: ExportReader;
  /** The agreement in force, with every statement about keys. */
  readonly trust: AgreementTrust;
  /** The agreement's file and its signatures, as they are. */
  readonly document: Uint8Array;
  readonly signatures: string;
  readonly gateway: string;
  readonly selection: Selection;
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
  /** Blocks looked at, of how many, and entries found. */
  readonly progress?: (done: number, of: number, entries: number) => void;
}

/** What was exported; plain data, since it goes through the daemon's socket. */
export interface ExportSummary {
  readonly gateway: string;
  readonly origin: string;
  readonly entries: number;
  readonly samples: number;
  readonly declarations: number;
  readonly maintenance: number;
  readonly blocks: number;
  readonly bytes: number;
  readonly sha256: string;
  readonly machines: readonly string[];
  /** ISO 8601; null without samples. */
  readonly from: string | null;
  readonly to: string | null;
  readonly size: number;
  readonly final: boolean;
  readonly cosigned: readonly Witnessed[];
  readonly warnings: readonly string[];
}

/**
 * @throws Problem when nothing matches, when it is too much for one bundle, and when what is wanted is under no
 *   checkpoint yet.
 */
export async function buildExport(
  options: BuildOptions,
): Promise<{ readonly bytes: Uint8Array; readonly summary: ExportSummary }> {
  const { reader, trust, selection, gateway, maxBytes = MAX_EXPORT_BYTES } = options;
  const { signal = new AbortController().signal, progress = () => undefined } = options;
  const party = trust.parties.find((one) => one.gateway === gateway);
  if (!party) throw problem(`the agreement names no gateway ${gateway}`);
  const before = await newestCheckpoints(reader, trust);
  const covered = before.final ?? before.published;
  const until = isClosed(selection) ? reader.blocks() : (covered?.size ?? 0);
  const found = await collect(reader, { selection, until, maxBytes, signal, progress });
  const last = found.blocks.at(-1);
  if (!last) throw nothing(selection, found, covered === undefined);
  const checkpoint = covering(last.index, await newestCheckpoints(reader, trust), options);
  const { size, note } = checkpoint;
  const hashes = hashReaderFromTiles(
    size,
    cached((level, index, width) => reader.tile(level, index, width)),
  );
  const proof: Uint8Array[] = [];
  const indexes = found.blocks.map(({ index }) => index);
  for (const nodes of planMultiproof(indexes, size)) proof.push(...(await readProof([nodes], hashes)));
  const bytes = encodeExport({
    document: options.document,
    signatures: options.signatures,
    policy: policyTextFor(trust, note),
    statements: trust.roster.statements(),
    checkpoint: note,
    proof,
    blocks: found.blocks,
    openings: found.openings,
  });
  return { bytes, summary: summaryOf(gateway, party.origin, found, checkpoint, bytes) };
}

function nothing(selection: Selection, { declared, damaged }: Collected, unpublished: boolean) {
  const what = `nothing matches ${describeSelection(selection)}`;
  if (unpublished && !isClosed(selection)) return problem(`${what}: the log has no checkpoint yet`);
  if (damaged.length > 0) return problem(`${what}; ${damagedBlocks(damaged)}`);
  const machine = selection.sample?.machine ?? selection.machine;
  const machines = [...new Set([...declared].map((name) => name.split('/')[0]!))];
  if (machine === undefined || machines.includes(machine)) return problem(what);
  const meant = didYouMean(machine, machines);
  const todo = meant
    ? `did you mean ${meant}?`
    : `the log has declared ${machines.join(', ') || 'no machine'}`;
  return problem(what, { todo });
}

/** The newest final checkpoint over the block, or the newest of all. */
function covering(
  index: number,
  { final, published }: Awaited<ReturnType<typeof newestCheckpoints>>,
  { trust, selection }: BuildOptions,
): CoveringCheckpoint {
  if (final && final.size > index) return final;
  if (published && published.size > index) return published;
  const interval = formatDuration(trust.agreement.terms.log.checkpointInterval);
  throw problem(`${describeSelection(selection)}: block ${index} is in no published checkpoint yet`, {
    todo: `a gateway that runs publishes one every ${interval}: try again then, or end the range earlier with --to`,
  });
}

function summaryOf(
  gateway: string,
  origin: string,
  found: Collected,
  { size, final, cosigned }: CoveringCheckpoint,
  bytes: Uint8Array,
): ExportSummary {
  const warnings = [
    ...(final
      ? []
      : [
          `the checkpoint of size ${size} is not final: too few members have cosigned it, and kosmos verify refuses it; export again when they have`,
        ]),
    ...(found.damaged.length > 0
      ? [`${damagedBlocks(found.damaged)}: what they held is not in the bundle`]
      : []),
  ];
  const { samples, declarations, maintenance, machines, span } = found;
  const iso = (time: number) => new Date(time).toISOString();
  return {
    gateway,
    origin,
    entries: samples + declarations + maintenance,
    samples,
    declarations,
    maintenance,
    blocks: found.blocks.length,
    bytes: bytes.length,
    sha256: toHex(sha256(bytes)),
    machines,
    from: span ? iso(span[0]) : null,
    to: span ? iso(span[1]) : null,
    size,
    final,
    cosigned,
    warnings,
  };
}

function damagedBlocks(damaged: readonly number[]): string {
  const rest = damaged.length > 5 ? ` and ${damaged.length - 5} more` : '';
  return `damaged blocks cannot be read: ${damaged.slice(0, 5).join(', ')}${rest}`;
}

const MOST_TILES = 64;

/** Neighbouring proofs need the same few tiles. */
function cached(source: TileSource): TileSource {
  const tiles = new Map<string, Uint8Array>();
  return async (level, index, width) => {
    const name = `${level}/${index}`;
    const tile = tiles.get(name) ?? (await source(level, index, width));
    tiles.delete(name);
    tiles.set(name, tile);
    if (tiles.size > MOST_TILES) tiles.delete(tiles.keys().next().value!);
    return tile;
  };
}
