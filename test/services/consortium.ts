/** A consortium for tests: members with keys of their own, and the agreement that names them. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createSigner } from '#ed25519';
import { randomBytes } from '#random';
import { draftAgreement } from '../../runtime/cli/setup/draft.ts';
import { toBase64 } from '../../runtime/core/encoding/base64.ts';
import { type Agreement, readAgreement } from '../../runtime/state/agreement/agreement.ts';
import { endorse } from '../../runtime/state/provenance/endorsement.ts';
import type { GatewayKeys } from '../../runtime/state/provenance/keys.ts';

export interface ConsortiumGateway {
  readonly name: string;
  readonly member: string;
  readonly keys: GatewayKeys;
}

export interface Consortium {
  readonly agreement: Agreement;
  readonly gateways: readonly ConsortiumGateway[];
}

export interface ConsortiumOptions {
  /** Gateways of each member: [1, 1, 2] is three members, the last with two. */
  readonly fleets: readonly number[];
  readonly federation?: Partial<Agreement['terms']['federation']>;
}

export const FRACTION_BITS = 24;

export function newKeys(): GatewayKeys {
  const key = () => createSigner(randomBytes(32));
  return { identity: key(), sample: key(), log: key(), witness: key(), tls: key() };
}

export function createConsortium({ fleets, federation }: ConsortiumOptions): Consortium {
  const gateways = fleets.flatMap((count, index) =>
    Array.from({ length: count }, (_, inner): ConsortiumGateway => {
      const member = `member-${index}`;
      return { member, name: `gateway-${index}${inner === 0 ? '' : `-${inner}`}`, keys: newKeys() };
    }),
  );
  const text = draftAgreement(
    {
      consortium: 'test-plant',
      epoch: 1,
      log: { checkpointInterval: 1000, padding: 0 },
      learning: {
        stream: 'main',
        window: 4,
        minimum: 2,
        slopeScale: 1,
        cap: 10,
        hidden: [],
        activation: 'tanh',
      },
      training: {
        unit: 'none',
        clipNorm: 1,
        samplingRate: 1,
        expectedBatch: 10,
        minimumEpisodes: 1,
        stepsPerRound: 1,
        firstLearningRate: 0.1,
        lastLearningRate: 0.1,
        optimiser: { kind: 'sgd', momentum: 0 },
      },
      privacy: undefined,
      federation: {
        mode: 'fedavg',
        rounds: 1000,
        minimumBatch: 3,
        committee: 3,
        updateBound: 1,
        fractionBits: FRACTION_BITS,
        interval: 0,
        phaseLimit: 2000,
        averageLast: 1,
        ...federation,
      },
    },
    { channels: [{ name: 'load', unit: '%', low: 0, high: 100, leastWidth: 1 }] },
    fleets.map((_, index) => ({
      name: `member-${index}`,
      key: toBase64(createSigner(randomBytes(32)).publicKey),
      gateways: gateways
        .filter((gateway) => gateway.member === `member-${index}`)
        .map(({ name, member, keys }) => ({
          member,
          name,
          address: '127.0.0.1:7400',
          identity: toBase64(keys.identity.publicKey),
          endorsement: toBase64(endorse(keys, member, name, 0)),
        })),
    })),
  );
  const read = readAgreement(text, 'agreement.toml');
  assert.ok(read.ok, JSON.stringify(read));
  return { agreement: read.value, gateways };
}

/** A directory that is gone after the test. */
export async function temporaryDirectory(t: Pick<TestContext, 'after'>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-test-'));
  t.after(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
  return directory;
}

/** Waits until `condition` holds. @throws Error naming `what` when it does not within the limit. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  limitMs = 40_000,
): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > deadline)
      throw new Error(`gave up waiting: ${typeof what === 'string' ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
