/** Gateways' peering rooms for tests, on loopback, with real keys and certificates. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createGateway } from '../../../runtime/cli/setup/gateway.ts';
import type { BackoffOptions } from '../../../runtime/services/peering/backoff.ts';
import type { PeerHandler } from '../../../runtime/services/peering/message.ts';
import { createPeering, type Peering } from '../../../runtime/services/peering/peering.ts';
import { certificatePath } from '../../../runtime/state/provenance/certificate.ts';
import { keyPath, loadKey } from '../../../runtime/state/provenance/keys.ts';
import { temporaryDirectory } from '../consortium.ts';
import { freePort } from '../telemetry/helpers.ts';

export interface Identity {
  readonly name: string;
  /** Absent when it only dials out. */
  readonly port?: number | undefined;
  readonly key: string;
  readonly certificate: string;
  readonly tlsKey: Uint8Array;
}

export type Listening = Identity & { readonly port: number };

/** A gateway that listens. */
export async function identity(t: TestContext, name: string): Promise<Listening> {
  return { ...(await dialler(t, name)), port: await freePort() };
}

/** A gateway that only dials out. */
export async function dialler(t: TestContext, name: string): Promise<Identity> {
  const directory = join(await temporaryDirectory(t), name);
  await createGateway(directory, 'member', name);
  return {
    name,
    key: await readFile(keyPath(directory, 'tls'), 'utf8'),
    certificate: await readFile(certificatePath(directory), 'utf8'),
    tlsKey: (await loadKey(keyPath(directory, 'tls'))).publicKey,
  };
}

export interface Side {
  readonly peering: Peering;
  readonly logged: string[];
}

export interface SideOptions {
  readonly requestLimitMs?: number;
  readonly maxMessageBytes?: number;
  readonly backoff?: BackoffOptions;
  /** Keys of a peer other than its first, asked at each handshake. */
  readonly keysOf?: (peer: string) => readonly Uint8Array[];
  readonly stranger?: (certificate: Uint8Array) => void;
}

/** Waits that keep a test short. */
export const SHORT_WAITS: BackoffOptions = { firstMs: 20, lastMs: 200, lastedMs: 100, random: Math.random };

export const echo: PeerHandler = async (peer, { path, body }) => ({
  status: 200,
  body: new TextEncoder().encode(`${peer} ${path} ${body.length}`),
});

/** The peering room of `own`; it is stopped when the test ends. */
export function side(
  t: TestContext,
  own: Identity,
  peers: readonly Identity[],
  handler = echo,
  {
    requestLimitMs = 10_000,
    maxMessageBytes = 1_000_000,
    backoff = SHORT_WAITS,
    keysOf,
    stranger,
  }: SideOptions = {},
): Side {
  const logged: string[] = [];
  const peering = createPeering({
    name: own.name,
    reachable: own.port !== undefined,
    settings: {
      listen: own.port === undefined ? undefined : { host: '127.0.0.1', port: own.port },
      requestLimitMs,
      maxMessageBytes,
    },
    key: own.key,
    certificate: own.certificate,
    peers: peers.map(({ name, port, tlsKey }) => ({
      name,
      ...(port === undefined ? {} : { host: '127.0.0.1', port }),
      tlsKeys: () => keysOf?.(name) ?? [tlsKey],
    })),
    handler,
    backoff,
    ...(stranger ? { stranger } : {}),
    log: (level, message) => void logged.push(`${level} ${message}`),
  });
  t.after(() => peering.stop());
  return { peering, logged };
}

export const nothing = new Uint8Array(0);
export const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
