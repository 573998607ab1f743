import { z } from 'zod';
import { duration, filePath, hostPort, url } from '../../state/settings/units.ts';

const LOOPBACK = /^(127(\.\d{1,3}){3}|localhost|::1)$/;

const embeddedSettings = z.strictObject({
  listen: hostPort({ defaultPort: 1883, anyPort: true })
    .refine(
      ({ host }) => LOOPBACK.test(host),
      'the embedded broker knows no passwords: it listens on loopback only',
    )
    .describe('Loopback address and port of the embedded broker; port 0 takes a free one.'),
  maxClients: z.int().min(1).max(1_024).default(32).describe('Connections it accepts at a time.'),
  maxSessions: z
    .int()
    .min(1)
    .max(1_024)
    .default(16)
    .describe('Persistent sessions (clean session off) it keeps, connected or not.'),
  queueLimit: z
    .int()
    .min(1)
    .max(100_000)
    .default(1_000)
    .describe('Messages it keeps for each persistent session; past that, samples wait in the journal.'),
  sessionExpiry: duration({ least: '1s', most: '365d' })
    .default(24 * 3_600_000)
    .describe('A persistent session that has been away for this long is forgotten.'),
});

/** The settings of this room. Without `url` and `embedded` the gateway publishes nothing. */
export const telemetrySettings = z
  .strictObject({
    url: url(['mqtt:', 'mqtts:'])
      .refine(
        (text) => !hasUserInfo(text),
        'must not contain a user or password: use username and password_file',
      )
      .optional()
      .describe('The MQTT broker to publish to: mqtt://host:port or mqtts://host:port.'),
    username: z.string().min(1).optional().describe('User name at the broker.'),
    passwordFile: filePath()
      .optional()
      .describe('File that holds the password at the broker; read again at every connection.'),
    caFile: filePath()
      .optional()
      .describe(
        "PEM file of the authority that signed the broker's certificate; without it the system's are used.",
      ),
    clientId: z
      .string()
      .min(1)
      .max(128)
      .optional()
      .describe(
        'MQTT client identifier, different for every gateway; default kosmos-<consortium>-<gateway>.',
      ),
    keepAliveSeconds: z
      .int()
      .min(1)
      .max(65_535)
      .default(30)
      .describe('Seconds of silence after which gateway and broker ask whether the other is there.'),
    connectTimeout: duration({ least: '100ms', most: '5m' })
      .default(10_000)
      .describe('How long one attempt to connect may take.'),
    acknowledgeTimeout: duration({ least: '100ms', most: '1h' })
      .default(30_000)
      .describe('How long the broker may take to acknowledge a message before the connection is made anew.'),
    reconnectLimit: duration({ least: '100ms', most: '1h' })
      .default(60_000)
      .describe('Longest pause between two attempts to connect; the first is one second.'),
    maxInflight: z
      .int()
      .min(1)
      .max(10_000)
      .default(256)
      .describe('Samples sent and not yet acknowledged, at most.'),
    embedded: embeddedSettings
      .optional()
      .describe(
        'A small MQTT 3.1.1 broker inside this gateway, for a plant that has none. It keeps everything in memory; ' +
          'samples count as delivered only when a persistent session holds them.',
      ),
  })
  .superRefine((settings, context) => {
    if (settings.passwordFile !== undefined && settings.username === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['passwordFile'],
        message: 'a password needs a username (MQTT 3.1.1)',
      });
    }
    if (settings.caFile !== undefined && settings.url?.startsWith('mqtts:') !== true) {
      context.addIssue({ code: 'custom', path: ['caFile'], message: 'is of use with an mqtts: url only' });
    }
  });

/** The settings as the program uses them; times are in milliseconds. */
export type TelemetrySettings = z.output<typeof telemetrySettings>;
/** The settings of the embedded broker as the program uses them. */
export type EmbeddedSettings = NonNullable<TelemetrySettings['embedded']>;

function hasUserInfo(text: string): boolean {
  const { username, password } = new URL(text);
  return username !== '' || password !== '';
}
