import { z } from 'zod';
import { duration, hostPort } from '../../state/settings/units.ts';

/** The `[peering]` part of a gateway's configuration. */
export const peeringSettings = z
  .object({
    listen: hostPort({ defaultPort: 7400 })
      .optional()
      .describe(
        'address and port at which the other gateways reach this one; without it this gateway dials out only',
      ),
    requestLimit: duration({ least: '100ms', most: '10m' })
      .default(20_000)
      .describe('how long a peer may take to answer, to send a request, or to take an answer'),
    maxMessageBytes: z
      .int()
      .min(65_536)
      .max(1_073_741_824)
      .default(67_108_864)
      .describe('the largest message taken from a peer'),
  })
  .transform(({ requestLimit, ...rest }) => ({ ...rest, requestLimitMs: requestLimit }));

export type PeeringSettings = z.output<typeof peeringSettings>;
