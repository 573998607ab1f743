/** Which of a log's checkpoints an export stands under. */
import { parseCheckpoint } from '../../core/log/checkpoint.ts';
import { parseNote } from '../../core/log/note.ts';
import type { Witnessed } from '../../core/log/policy.ts';
import { createCheckpointJudge, type Trust } from '../verify/trust.ts';
import type { ExportReader } from './sources.ts';

export interface CoveringCheckpoint {
  readonly size: number;
  readonly note: string;
  /** Whether its cosignatures are enough; if not, nobody has to believe it. */
  readonly final: boolean;
  /** Of a final one. */
  readonly cosigned: readonly Witnessed[];
}

/** The newest that is final and the newest of all; either may be absent, and both may be the same. */
export interface Newest {
  readonly final: CoveringCheckpoint | undefined;
  readonly published: CoveringCheckpoint | undefined;
}

export async function newestCheckpoints(reader: ExportReader, trust: Trust): Promise<Newest> {
  const judge = createCheckpointJudge(trust);
  let published: CoveringCheckpoint | undefined;
  for await (const note of reader.checkpoints()) {
    const { size } = parseCheckpoint(parseNote(note).text);
    const cosigned = judged(() => judge(note).cosigned);
    const one = { size, note, final: cosigned !== undefined, cosigned: cosigned ?? [] };
    published ??= one;
    if (one.final) return { final: one, published };
  }
  return { final: undefined, published };
}

function judged<T>(judge: () => T): T | undefined {
  try {
    return judge();
  } catch (error) {
    if ((error as Error).name === 'Broken') return undefined;
    throw error;
  }
}
