import { z } from 'zod';
import { byteSize, duration } from '../settings/units.ts';

/** The `[journal]` part of a gateway's configuration. */
export const journalSettings = z
  .object({
    commitInterval: duration({ least: '1ms', most: '1m' })
      .default(1000)
      .describe(
        'samples that arrive within this time become durable in one write; faults and maintenance entries at once',
      ),
    maxBytes: byteSize({ least: '1MB' })
      .default(2_000_000_000)
      .describe(
        'bytes of samples to keep; beyond it the oldest that every reader has finished with are dropped',
      ),
    maxPendingBytes: byteSize({ least: '64kB', most: '1GB' })
      .default(32_000_000)
      .describe('bytes kept in memory while the disk takes no more'),
  })
  .prefault({})
  .transform(({ commitInterval, ...rest }) => ({ ...rest, commitIntervalMs: commitInterval }));
