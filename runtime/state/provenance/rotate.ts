/** Rotating the keys of a gateway that does not run: new keys, endorsed by the identity, in place of old ones. */
import { mkdir } from 'node:fs/promises';
import { replaceFile } from '../files.ts';
import { createCertificate } from './certificate.ts';
import { endorse } from './endorsement.ts';
import { createKey, loadGatewayKeys } from './keys.ts';
import { keysDirectory, PURPOSES, type Purpose } from './purposes.ts';
import {
  ENDORSEMENT,
  nextDirectory,
  nextPath,
  settleRotation,
  settleSteps,
  syncDirectory,
} from './rotation.ts';

export interface RotationRequest {
  readonly member: string;
  readonly gateway: string;
  readonly purposes: readonly Purpose[];
  /** Higher than any that anybody has seen of this gateway. */
  readonly serial: number;
  /** Milliseconds since 1970. */
  readonly time: number;
}

/**
 * Rotates the keys in `directory`; gives the new endorsement, which peers must have before they accept the keys.
 * @throws Error when the directory has no keys; what had been made is undone then or at the next load.
 */
export async function rotateKeys(directory: string, request: RotationRequest): Promise<Uint8Array> {
  const steps = rotationSteps(directory, request);
  for (;;) {
    const step = await steps.next();
    if (step.done) return step.value;
  }
}

/** The steps of rotateKeys, each durable when it is yielded: a test stops between any two. */
export async function* rotationSteps(
  directory: string,
  { member, gateway, purposes, serial, time }: RotationRequest,
): AsyncGenerator<string, Uint8Array> {
  await settleRotation(directory);
  const keys = await loadGatewayKeys(directory);
  await mkdir(nextDirectory(directory), { mode: 0o700 });
  await syncDirectory(keysDirectory(directory));
  yield 'made a directory for what is new';
  const renewed = { ...keys };
  for (const purpose of PURPOSES.filter((one) => purposes.includes(one))) {
    renewed[purpose] = await createKey(nextPath(directory, `${purpose}.pem`));
    yield `made a new ${purpose} key`;
  }
  const statement = endorse(renewed, member, gateway, time, serial);
  if (purposes.includes('tls')) {
    await createCertificate(directory, `${member}/${gateway}`, {
      key: nextPath(directory, 'tls.pem'),
      certificate: nextPath(directory, 'tls.crt'),
      statement,
    });
    yield 'made a new certificate';
  }
  // The names of the new files must be durable before the statement that makes them count.
  await syncDirectory(nextDirectory(directory));
  await replaceFile(nextPath(directory, ENDORSEMENT), statement);
  yield 'endorsed the new keys';
  yield* settleSteps(directory);
  return statement;
}
