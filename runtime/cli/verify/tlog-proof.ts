/** Checks a C2SP tlog-proof; of one that kosmos export made, the way from the sample to the leaf as well. */
import { toHex } from '../../core/encoding/base64.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { verifySign1 } from '../../core/encoding/cose.ts';
import { type BlockOpening, blockSignature, leafDataOf, readEntry } from '../../core/log/block.ts';
import type { VerifiedEntry } from '../../core/log/export-verifier.ts';
import { formatNote } from '../../core/log/note.ts';
import { parseTlogProof, verifyTlogProof } from '../../core/log/tlog-proof.ts';
import { type BlockProof, decodeBlockProof, isBlockProof, openBlockProof } from '../export/block-proof.ts';
import { problem } from '../terminal/problem.ts';
import { broken } from './broken.ts';
import { readContents } from './contents.ts';
import { describeCosigned, type JudgedBy, judgedByOf, type Seen, seenBy } from './report.ts';
import type { Line } from './show.ts';
import { createCheckpointJudge, sampleKeysAt, type Trust } from './trust.ts';

export interface TlogProofReport {
  readonly kind: 'tlog-proof';
  readonly judged_by: JudgedBy;
  readonly origin: string;
  readonly size: number;
  readonly index: number;
  readonly cosigned: readonly Seen[];
  readonly cosigned_time: string | null;
  /** The entry, where the proof holds one and its signature was checked. */
  readonly entry: Line | null;
  /** Whether the entry's signature was checked: only an agreement says whose key it must be. */
  readonly signature: boolean;
}

/**
 * @param leaf the data of the log's leaf, where it is at hand; else it follows from what the proof holds.
 * @throws Broken at the first broken thing; Problem when there is no leaf to prove.
 */
export function verifyTlogProofFile(
  file: Uint8Array,
  leaf: Uint8Array | undefined,
  trust: Trust,
): TlogProofReport {
  const proof = inside('', () => parseTlogProof(file));
  const inner =
    proof.extra && isBlockProof(proof.extra) ? inside('', () => decodeBlockProof(proof.extra!)) : undefined;
  if (!leaf && !inner) {
    throw problem('which leaf is it a proof of?', { todo: 'give --leaf FILE', exitCode: 2 });
  }
  const opening = inner && inside('', () => openBlockProof(inner));
  const own = inner && leafDataOf(inner.opening);
  if (own && leaf && !equalBytes(own, leaf))
    throw broken('tlog-proof: the entry in it leads to another leaf');
  const { checkpoint, cosigned, time } = createCheckpointJudge(trust)(formatNote(proof.checkpoint));
  const verdict = verifyTlogProof(file, (leaf ?? own)!, trust.policy);
  if (verdict.kind === 'refused') throw broken(`tlog-proof: ${verdict.reason}`);
  const entry =
    inner && opening && trust.kind === 'agreement'
      ? signedEntry(inner, opening, verdict.index, (keyId, refuse) =>
          sampleKeysAt(trust, time, refuse)(keyId, { origin: checkpoint.origin }),
        )
      : undefined;
  let line: Line | null = null;
  if (entry) {
    readContents([entry], [], (one) => {
      line = one;
    });
  }
  return {
    kind: 'tlog-proof',
    judged_by: judgedByOf(trust, trust.kind === 'agreement' ? trust : undefined, false),
    origin: checkpoint.origin,
    size: checkpoint.size,
    index: verdict.index,
    cosigned: seenBy(trust, cosigned),
    cosigned_time: time === undefined ? null : new Date(time * 1000).toISOString(),
    entry: line,
    signature: entry !== undefined,
  };
}

/** The entry, once its own signature or its block's has been checked. */
function signedEntry(
  { entry: bytes, position }: BlockProof,
  opening: BlockOpening,
  block: number,
  keyOf: (keyId: Uint8Array, refuse: (reason: string) => void) => ReturnType<ReturnType<typeof sampleKeysAt>>,
): VerifiedEntry {
  const entry = inside('entry: ', () => readEntry(bytes));
  const message = entry.form === 'signed' ? entry.message : inside('', () => blockSignature(opening));
  let refusal = '';
  const verifier = keyOf(message.keyId, (reason) => {
    refusal = reason;
  });
  if (!verifier)
    throw broken(`tlog-proof: the sample key ${toHex(message.keyId)} does not count: ${refusal}`);
  if (!verifySign1(message, verifier)) throw broken('tlog-proof: the signature of the entry does not verify');
  const signedBy = entry.form === 'signed' ? 'entry' : 'block';
  return { block, position, bytes, payload: entry.payload, signedBy, keyId: message.keyId };
}

function inside<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw broken(`tlog-proof: ${what}${(error as Error).message}`);
  }
}

export function describeTlogProof(report: TlogProofReport): readonly string[] {
  const { entry, signature } = report;
  return [
    `holds: leaf ${report.index} of the log ${report.origin}, checkpoint of size ${report.size}`,
    ...(entry ? [`entry: ${JSON.stringify(entry)}`] : []),
    ...(signature ? [] : ['the signature of an entry was not judged: that takes --agreement FILE']),
    ...describeCosigned(report.cosigned, report.cosigned_time),
    ...report.judged_by.words,
  ];
}
