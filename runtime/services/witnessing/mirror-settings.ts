import { z } from 'zod';
import { byteSize, duration } from '../../state/settings/units.ts';

/** The `[mirror]` part of a gateway's configuration: copies of other gateways' logs, and talk about what they sign. */
export const mirrorSettings = z
  .strictObject({
    interval: duration({ least: '100ms', most: '1h' })
      .default(10_000)
      .describe('How often the other logs are looked at for what is not mirrored yet.'),
    gossipInterval: duration({ least: '100ms', most: '1h' })
      .default(60_000)
      .describe('How often some peers are told which checkpoints this gateway has seen.'),
    requestLimit: duration({ least: '100ms', most: '5m' })
      .default(10_000)
      .describe('How long a peer may take to give a tile or to answer.'),
    maxBytes: byteSize({ least: '1MB' })
      .default(1_000_000_000)
      .describe('The most that the copy of one log may take on disk; beyond, it stops and says so.'),
  })
  .prefault({})
  .transform(({ interval, gossipInterval, requestLimit, maxBytes }) => ({
    intervalMs: interval,
    gossipIntervalMs: gossipInterval,
    requestLimitMs: requestLimit,
    maxBytes,
  }));

export type MirrorSettings = z.output<typeof mirrorSettings>;
