/** Configuration, agreement and control socket, found and judged for the commands. */
import { dirname, join, resolve } from 'node:path';
import { type GatewaySettings, gatewaySettings } from '../settings.ts';
import { type Agreement, readAgreement, unsignedBy } from '../state/agreement/agreement.ts';
import { exists, readBounded } from '../state/files.ts';
import { formatFaults } from '../state/settings/format.ts';
import { type Fault, readSettingsFile } from '../state/settings/read.ts';
import { type Problem, problem } from './terminal/problem.ts';

const MAX_DOCUMENT = 16 * 1024 * 1024;
const MAX_CARD = 65_536;
const USAGE = 2;

/** A file that was given has faults: all of them at once, exit code 2. */
export function settingsProblem(faults: readonly Fault[]): Problem {
  return problem(formatFaults(faults), { exitCode: USAGE });
}

/** The configuration in `path`; relative paths in it are taken from its own folder. */
export async function loadSettings(path: string): Promise<GatewaySettings> {
  const judged = await readSettingsFile(path, gatewaySettings);
  if (!judged.ok) throw settingsProblem(judged.faults);
  const { gateway } = judged.value;
  const base = dirname(resolve(path));
  const directory = resolve(base, gateway.directory);
  return {
    ...judged.value,
    gateway: {
      ...gateway,
      directory,
      agreement:
        gateway.agreement === undefined
          ? join(directory, 'agreement.toml')
          : resolve(base, gateway.agreement),
      socket: gateway.socket === undefined ? socketIn(directory) : resolve(base, gateway.socket),
    },
  };
}

export function socketIn(directory: string): string {
  return join(directory, 'control.sock');
}

/** The file of signatures that goes with an agreement. */
export function signaturesPath(agreement: string): string {
  return `${agreement}.sigs`;
}

/** The agreement in `path`, signatures not looked at. */
export async function loadUnsigned(path: string): Promise<Agreement> {
  const read = readAgreement(await readBounded(path, MAX_DOCUMENT), path);
  if (!read.ok) throw settingsProblem(read.faults);
  return read.value;
}

/** The agreement in `path`, signed by all its members. */
export async function loadAgreement(path: string): Promise<Agreement> {
  if (!(await exists(path))) {
    throw problem('there is no agreement', {
      where: path,
      todo: 'draft one with kosmos agreement draft, have every member sign it with kosmos agreement sign',
    });
  }
  const agreement = await loadUnsigned(path);
  const signatures = signaturesPath(path);
  if (!(await exists(signatures))) {
    throw problem('the agreement is not signed', {
      where: path,
      todo: `sign it: kosmos agreement sign ${path} --member-key FILE`,
    });
  }
  const missing = unsignedBy(agreement, await readBounded(signatures, MAX_DOCUMENT));
  if (missing.length > 0) {
    throw problem(`the agreement is not signed by ${missing.join(', ')}`, {
      where: signatures,
      todo: 'every member signs, then it is in force',
    });
  }
  return agreement;
}

/** The JSON in `path`, not judged yet. @throws Problem that names the file when it is none. */
export async function readJson(path: string): Promise<unknown> {
  const text = await readBounded(path, MAX_CARD);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw problem(`it is not JSON: ${(error as Error).message}`, { where: path, exitCode: USAGE });
  }
}
