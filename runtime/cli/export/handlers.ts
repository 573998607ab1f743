/** What a running daemon does for `kosmos export`. */
import { z } from 'zod';
import { randomBytes } from '#random';
import { sha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import type { ControlHandler } from '../../services/control/server.ts';
import type { Agreement } from '../../state/agreement/agreement.ts';
import { readBounded, readBoundedBytes } from '../../state/files.ts';
import type { Journal } from '../../state/journal/journal.ts';
import type { Roster } from '../../state/provenance/roster.ts';
import { signaturesPath } from '../settings-file.ts';
import { isProblem } from '../terminal/problem.ts';
import { trustAgreement } from '../verify/trust.ts';
import { buildExport, type ExportSummary } from './build.ts';
import { selectionSchema } from './selection.ts';
import { readerOverJournal } from './sources.ts';

/** Of a gateway, what an export takes. */
export interface ExportingGateway {
  readonly roster: Roster;
  status(): { readonly gateway: string };
  readonly journal: Journal;
  /** File of the agreement in force. */
  readonly agreementFile: string;
}

export interface ExportLimits {
  /** The longest bundle: while it is made it takes some times that in memory. */
  readonly maxBytes: number;
  /** Until what is built is forgotten, and until a build that nobody asks about is given up. */
  readonly keepMs: number;
  readonly abandonMs: number;
  /** An answer does not wait longer than this for the end of a build. */
  readonly answerMs: number;
  readonly buildMs: number;
}

const LIMITS: ExportLimits = {
  maxBytes: 32 * 2 ** 20,
  keepMs: 120_000,
  abandonMs: 30_000,
  answerMs: 1000,
  buildMs: 30 * 60_000,
};

/** Bytes of a part; as base64 it fits into a line. */
export const PART_BYTES = 2 ** 21;

/** What the daemon answers to `export`. */
export type ExportAnswer =
  | {
      readonly id: string;
      readonly state: 'building';
      readonly done: number;
      readonly of: number;
      readonly entries: number;
    }
  | { readonly id: string; readonly state: 'ready'; readonly bytes: number; readonly summary: ExportSummary };

const exportRequest = z.union([
  z.strictObject({ selection: selectionSchema }),
  z.strictObject({ id: z.string().max(64) }),
]);
const partRequest = z.strictObject({ id: z.string().max(64), offset: z.number().int().min(0) });

interface Job {
  readonly id: string;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
  seen: { done: number; of: number; entries: number };
  built?: { readonly bytes: Uint8Array; readonly summary: ExportSummary };
  failure?: Error;
  timer?: NodeJS.Timeout;
}

/**
 * `export` begins with a selection, and is asked again with the id until what it builds is ready; `export-part`
 * gives the bytes from an offset on. One export at a time.
 */
export function exportHandlers(
  gateway: ExportingGateway,
  agreement: Agreement,
  limits: Partial<ExportLimits> = {},
): Readonly<Record<'export' | 'export-part', ControlHandler>> {
  const { maxBytes, keepMs, abandonMs, answerMs, buildMs } = { ...LIMITS, ...limits };
  let job: Job | undefined;

  /** Forgets the job unless it is asked about again within `ms`. */
  function forgetAfter(mine: Job, ms: number): void {
    clearTimeout(mine.timer);
    mine.timer = setTimeout(() => {
      mine.stop.abort(new Error('nobody asked about this export any more'));
      if (job === mine) job = undefined;
    }, ms).unref();
  }

  function begin(given: z.output<typeof selectionSchema>): Job {
    if (job && !job.built && !job.failure)
      throw new Error('another export is under way; try again when it is done');
    if (job) clearTimeout(job.timer);
    const stop = new AbortController();
    const seen = { done: 0, of: 0, entries: 0 };
    const limit = setTimeout(
      () => stop.abort(new Error(`an export may take ${buildMs / 60_000} minutes: narrow it`)),
      buildMs,
    ).unref();
    const mine: Job = { id: toHex(randomBytes(8)), stop, ended: run(), seen };
    async function run(): Promise<void> {
      try {
        const built = await build(given, stop.signal, seen);
        mine.built = built;
      } catch (error) {
        mine.failure = error as Error;
      } finally {
        clearTimeout(limit);
      }
    }
    return mine;
  }

  async function build(
    selection: z.output<typeof selectionSchema>,
    signal: AbortSignal,
    seen: Job['seen'],
  ): Promise<NonNullable<Job['built']>> {
    const { document, signatures } = await agreementFiles(gateway.agreementFile, agreement);
    return buildExport({
      reader: readerOverJournal(gateway.journal),
      trust: trustAgreement(agreement, gateway.roster.statements()),
      document,
      signatures,
      gateway: gateway.status().gateway,
      selection,
      maxBytes,
      signal,
      progress: (done, of, entries) => Object.assign(seen, { done, of, entries }),
    });
  }

  function known(id: string): Job {
    if (job?.id === id) return job;
    throw new Error('this export is gone: what is built is kept for two minutes; begin again');
  }

  return {
    async export(given): Promise<ExportAnswer> {
      const judged = exportRequest.safeParse(given);
      if (!judged.success) throw new Error(z.prettifyError(judged.error));
      const mine = 'id' in judged.data ? known(judged.data.id) : begin(judged.data.selection);
      job = mine;
      forgetAfter(mine, mine.built ? keepMs : abandonMs);
      await orAfter(answerMs, mine.ended);
      const { id, built, failure, seen } = mine;
      if (failure) throw told(failure);
      if (!built) return { id, state: 'building', ...seen };
      forgetAfter(mine, keepMs);
      return { id, state: 'ready', bytes: built.bytes.length, summary: built.summary };
    },
    async 'export-part'(given) {
      const judged = partRequest.safeParse(given);
      if (!judged.success) throw new Error(z.prettifyError(judged.error));
      const mine = known(judged.data.id);
      if (!mine.built) throw new Error('this export is not ready');
      forgetAfter(mine, keepMs);
      const { offset } = judged.data;
      const part = mine.built.bytes.subarray(offset, offset + PART_BYTES);
      return { data: Buffer.from(part.buffer, part.byteOffset, part.length).toString('base64') };
    },
  };
}

/** The agreement's file and its signatures. @throws Error when the file is not the agreement any more. */
export async function agreementFiles(
  path: string,
  agreement: Agreement,
): Promise<{ readonly document: Uint8Array; readonly signatures: string }> {
  const document = new Uint8Array(await readBoundedBytes(path, MAX_DOCUMENT));
  if (!equalBytes(sha256(document), agreement.hash)) {
    throw new Error(`${path} is not the agreement in force any more`);
  }
  return { document, signatures: await readBounded(signaturesPath(path), MAX_DOCUMENT) };
}

const MAX_DOCUMENT = 2 ** 20;

/** A problem's advice goes with it over the socket. */
function told(failure: Error): Error {
  if (!isProblem(failure) || failure.todo === undefined) return failure;
  return new Error(`${failure.message}\n  ${failure.todo}`, { cause: failure });
}

async function orAfter(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, limit]);
  clearTimeout(timer);
}
