import { z } from 'zod';
import { ED25519_COSIGNATURE, ED25519_NOTE, isKeyName, parseVkey } from '../../core/log/vkey.ts';
import { duration, filePath, hostPort, url } from '../../state/settings/units.ts';

/** The `[public]` part of a gateway's configuration; without `listen` nobody but the members is served. */
export const publicSettings = z
  .strictObject({
    listen: hostPort({ defaultPort: 7480, anyPort: true })
      .optional()
      .describe(
        'Address and port at which anybody may read this gateway’s log and submit checkpoints; port 0 takes a free one.',
      ),
    certificate: filePath()
      .optional()
      .describe('PEM file with the certificate chain to serve HTTPS with; without it HTTP is served.'),
    key: filePath().optional().describe('PEM file with the private key of the certificate.'),
    maxConnections: z
      .int()
      .min(1)
      .max(10_000)
      .default(256)
      .describe('Connections at a time; further ones are closed at once.'),
    connectionsPerAddress: z
      .int()
      .min(1)
      .max(10_000)
      .default(32)
      .describe('Connections at a time from one IPv4 address or one IPv6 /64.'),
    rate: z
      .number()
      .min(0.1)
      .max(100_000)
      .default(50)
      .describe('Requests a second from one IPv4 address or one IPv6 /64.'),
    burst: z.int().min(10).max(1_000_000).default(500).describe('Requests of one address at once.'),
    totalRate: z.number().min(0.1).max(1_000_000).default(200).describe('Requests a second from all.'),
    totalBurst: z.int().min(10).max(1_000_000).default(1_000).describe('Requests of all at once.'),
    requestLimit: duration({ least: '100ms', most: '5m' })
      .default(20_000)
      .describe('How long a request may take to arrive, and then how long its answer.'),
    idleLimit: duration({ least: '100ms', most: '5m' })
      .default(15_000)
      .describe('How long a connection may stay open without a request.'),
  })
  .superRefine((settings, context) => {
    if ((settings.certificate === undefined) === (settings.key === undefined)) return;
    const absent = settings.key === undefined ? 'key' : 'certificate';
    context.addIssue({
      code: 'custom',
      path: [absent],
      message: 'certificate and key belong together: give both, or none for HTTP',
    });
  })
  .transform(({ requestLimit, idleLimit, ...rest }) => ({
    ...rest,
    requestLimitMs: requestLimit,
    idleLimitMs: idleLimit,
  }));

export type PublicSettings = z.output<typeof publicSettings>;

/** A verifier key as C2SP signed-note writes it, of one signature type. */
function vkey(type: number, what: string) {
  return z
    .string()
    .transform((text, context) => {
      try {
        const parsed = parseVkey(text);
        if (parsed.type === type) return parsed;
        context.addIssue({ code: 'custom', message: `signature type ${parsed.type} instead of ${type}` });
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message });
      }
      return z.NEVER;
    })
    .meta({ allowed: what });
}

const foreignWitness = z.strictObject({
  url: url(['http:', 'https:']).describe('Submission prefix of the witness (C2SP tlog-witness).'),
  vkey: vkey(ED25519_COSIGNATURE, 'a verifier key of an Ed25519 cosigner, name+id+base64').describe(
    'Verifier key of its cosignatures.',
  ),
});

const foreignLog = z.strictObject({
  vkey: vkey(ED25519_NOTE, 'a verifier key of an Ed25519 log, name+id+base64').describe(
    'Verifier key of the log.',
  ),
  origin: z
    .string()
    .refine((text) => isKeyName(text))
    .optional()
    .describe("First line of its checkpoints; the key's name when absent."),
});

/** The `[witnessing]` part of a gateway's configuration: witnesses and logs from outside the consortium. */
export const witnessingSettings = z
  .strictObject({
    foreignInterval: duration({ least: '100ms', most: '1d' })
      .default(30_000)
      .describe('How often witnesses from outside the consortium are asked for a cosignature.'),
    foreignRequestLimit: duration({ least: '100ms', most: '5m' })
      .default(10_000)
      .describe('How long one of them may take to answer.'),
    foreignWitness: z
      .array(foreignWitness)
      .max(16)
      .default([])
      .describe('Witnesses from outside that this log asks; their cosignatures count for no member.'),
    foreignLog: z
      .array(foreignLog)
      .max(256)
      .default([])
      .describe('Logs from outside whose checkpoints this gateway cosigns.'),
  })
  .superRefine(({ foreignWitness: witnesses, foreignLog: logs }, context) => {
    unique(witnesses, 'foreignWitness', context);
    unique(logs, 'foreignLog', context);
  })
  .transform(({ foreignInterval, foreignRequestLimit, ...rest }) => ({
    ...rest,
    foreignIntervalMs: foreignInterval,
    foreignRequestLimitMs: foreignRequestLimit,
  }));

export type WitnessingSettings = z.output<typeof witnessingSettings>;

function unique(
  tables: readonly { readonly vkey: { readonly key: Uint8Array; readonly name: string } }[],
  path: string,
  context: z.RefinementCtx,
): void {
  const seen = new Set<string>();
  for (const [index, table] of tables.entries()) {
    const key = table.vkey.key.join(',');
    if (seen.has(key)) {
      context.addIssue({
        code: 'custom',
        path: [path, index, 'vkey'],
        message: 'this key stands there twice',
      });
    }
    seen.add(key);
  }
}
