/** What the one who verifies brings along: an agreement, a policy, a log's key, statements about keys. */
import { parsePolicy } from '../../core/log/policy.ts';
import { parseVkey } from '../../core/log/vkey.ts';
import type { Agreement } from '../../state/agreement/agreement.ts';
import { readBounded } from '../../state/files.ts';
import { parseStatements } from '../../state/provenance/statements-file.ts';
import { loadAgreement } from '../settings-file.ts';
import { problem } from '../terminal/problem.ts';
import { type Trust, trustAgreement, trustPolicy, trustVkey } from './trust.ts';

const MAX_POLICY = 2 ** 20;
const MAX_STATEMENTS = 4 * 2 ** 20;
const USAGE = 2;

export interface GivenOptions {
  readonly agreement?: string | undefined;
  readonly policy?: string | undefined;
  readonly vkey?: string | undefined;
  readonly statements?: string | undefined;
}

export interface Given {
  readonly agreement: Agreement | undefined;
  /** A policy file or a log's key, instead of an agreement. */
  readonly other: Trust | undefined;
  readonly statements: readonly Uint8Array[];
}

/** @throws Problem when more than one of agreement, policy and key is given, or one cannot be read. */
export async function readGiven(options: GivenOptions): Promise<Given> {
  const { agreement, policy, vkey, statements } = options;
  if ([agreement, policy, vkey].filter((one) => one !== undefined).length > 1) {
    throw problem('--agreement, --policy and --vkey do not go together: judge by one of them', {
      exitCode: USAGE,
    });
  }
  return {
    agreement: agreement === undefined ? undefined : await loadAgreement(agreement),
    other:
      policy !== undefined
        ? trustPolicy(await read(policy, MAX_POLICY, parsePolicy))
        : vkey === undefined
          ? undefined
          : trustVkey(judged('--vkey', () => parseVkey(vkey))),
    statements:
      statements === undefined
        ? []
        : await read(statements, MAX_STATEMENTS, (text) => parseStatements(text, statements)),
  };
}

async function read<T>(path: string, limit: number, parse: (text: string) => T): Promise<T> {
  const text = await readBounded(path, limit);
  return judged(path, () => parse(text));
}

function judged<T>(where: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw problem((error as Error).message, { where, exitCode: USAGE, cause: error });
  }
}

/** The trust that was given, or undefined when none was. */
export function givenTrust({ agreement, other, statements }: Given): Trust | undefined {
  return agreement ? judged('--statements', () => trustAgreement(agreement, statements)) : other;
}
