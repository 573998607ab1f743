/** A gateway with a log of some size, whose public listener runs on a free port of loopback. */
import { connect } from 'node:net';
import type { TestContext } from 'node:test';
import { createOutside, type Outside } from '../../../runtime/services/witnessing/outside.ts';
import { publicSettings, witnessingSettings } from '../../../runtime/services/witnessing/settings.ts';
import { createConsortium, temporaryDirectory } from '../consortium.ts';
import { type Log, openLog } from './logs.ts';

export interface PublicGateway {
  readonly log: Log;
  /** The peers, whose witnesses cosign. */
  readonly peers: readonly Log[];
  readonly outside: Outside;
  readonly url: string;
  readonly port: number;
  readonly reports: string[];
}

export async function publicGateway(
  t: TestContext,
  options: { readonly settings?: object; readonly witnessing?: object; readonly cosigned?: boolean } = {},
): Promise<PublicGateway> {
  const consortium = createConsortium({ fleets: [1, 1, 1] });
  const directory = await temporaryDirectory(t);
  const nobody = () => Promise.reject(new Error('nobody is asked here'));
  const peers = await Promise.all(
    ['gateway-1', 'gateway-2'].map((name) => openLog(consortium, name, directory, nobody)),
  );
  const log = await openLog(consortium, 'gateway-0', directory, async (to, body) => {
    if (options.cosigned === false) return { status: 503, body: new Uint8Array() };
    const answer = await peers.find(({ name }) => name === to)!.witness.addCheckpoint(body);
    return { status: answer.status, body: new TextEncoder().encode(answer.body) };
  });
  await log.publisher.open();
  const reports: string[] = [];
  const outside = createOutside({
    settings: {
      public: publicSettings.parse({ listen: '127.0.0.1:0', ...options.settings }),
      witnessing: witnessingSettings.parse(options.witnessing ?? {}),
    },
    self: log.self,
    parties: log.all,
    journal: log.journal,
    publisher: log.publisher,
    witness: log.witness,
    mirrored: () => undefined,
    log: (level, message) => void reports.push(`${level} ${message}`),
  });
  await outside.start();
  t.after(async () => {
    await outside.stop();
    await Promise.all([log, ...peers].map(({ journal }) => journal.close()));
  });
  const { address } = outside.status().public;
  const secure = options.settings && 'certificate' in options.settings;
  return {
    log,
    peers,
    outside,
    reports,
    port: address!.port,
    url: `${secure ? 'https' : 'http'}://127.0.0.1:${address!.port}`,
  };
}

/** Lets the log have `size` leaves and a checkpoint over them. */
export async function grown(gateway: PublicGateway, size: number): Promise<void> {
  await gateway.log.journal.pad(size - (gateway.log.journal.head()?.size ?? 0));
  await gateway.log.publish();
}

/** Sends `text` as it is; everything that came back until the other side ended it. */
export function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    socket.setEncoding('utf8').on('data', (part: string) => {
      said += part;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(said));
  });
}

export function get(port: number, target: string, method = 'GET'): Promise<string> {
  return raw(port, `${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
}

export const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);
