/** What the demo is asked to do, and what it works out from that. */
import { type AddressInfo, createServer, type Server } from 'node:net';
import type { CmapssSubset } from '../../../drivers/cmapss.ts';
import type { LabelSpec } from '../../core/learning/episodes.ts';
import type { EvaluationUnit } from '../../core/learning/evaluate.ts';
import type { DataSheet } from '../../core/learning/features.ts';
import type { DraftTerms } from '../setup/draft.ts';

export interface DemoOptions {
  readonly gateways: number;
  /** `off` trains without privacy, for comparison. */
  readonly epsilon: number | 'off';
  readonly unit: 'window' | 'episode';
  /** Ends the demo after so many rounds. */
  readonly rounds: number | undefined;
  readonly data: { readonly directory: string; readonly subset: CmapssSubset } | undefined;
  readonly ranges: string | undefined;
  readonly broker: string | undefined;
  readonly directory: string;
  readonly seed: number;
}

/** One gateway of the demo. */
export interface DemoGateway {
  readonly member: string;
  readonly name: string;
  readonly directory: string;
  readonly port: number;
  /** The tables of its machines, and of the simulation where there is one. */
  readonly machines: string;
  /** Parts of the machines that judge models, and that say how wide intervals have to be. */
  readonly holdBack: { readonly adopt: number; readonly calibrate: number };
}

export interface DemoPlan {
  readonly gateways: readonly DemoGateway[];
  readonly terms: DraftTerms;
  readonly sheet: DataSheet;
  readonly windows: LabelSpec;
  /** Machines nobody trains on, for the error that the screen shows. */
  readonly evaluation: readonly EvaluationUnit[];
  readonly description: string;
}

/** Companies of the demo, in the order in which they join. */
const COMPANIES = [
  'alpina',
  'borealis',
  'ceres',
  'dorado',
  'electra',
  'fornax',
  'gemini',
  'hydra',
  'izar',
  'juno',
];

export function companyName(index: number): string {
  return COMPANIES[index] ?? `company-${index + 1}`;
}

/** Different free ports on loopback: all listeners are open before the first is closed again. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => listenAnywhere()));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function listenAnywhere(): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}
