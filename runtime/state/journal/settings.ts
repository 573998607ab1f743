import { z } from 'zod';
import { byteSize, duration } from '../settings/units.ts';
import { heldShare } from './disk.ts';

/** The `[journal]` part of a gateway's configuration. */
export const journalSettings = z
  .object({
    commitInterval: duration({ least: '1ms', most: '1m' })
      .default(5000)
      .describe(
        'samples that arrive within this time become durable in one write; faults and maintenance entries at once',
      ),
    maxBytes: byteSize({ least: '32MB' })
      .default(2_000_000_000)
      .describe('bytes on disk; what goes when they are used up, each stream says (when_full)'),
    maxPendingBytes: byteSize({ least: '64kB', most: '1GB' })
      .default(32_000_000)
      .describe('bytes kept in memory while the disk takes no more; the newest samples stay'),
  })
  .prefault({})
  .transform(({ commitInterval, maxBytes, maxPendingBytes }) => ({
    commitIntervalMs: commitInterval,
    maxDiskBytes: maxBytes,
    maxBytes: heldShare(maxBytes),
    maxPendingBytes,
  }));
