/** What a running daemon does for `kosmos privacy`. */
import { z } from 'zod';
import { toBase64, toHex } from '../../core/encoding/base64.ts';
import { encodeCbor } from '../../core/encoding/cbor.ts';
import type { Mechanism } from '../../core/privacy/accountant.ts';
import type { ControlHandler } from '../../services/control/server.ts';
import { priceOf } from '../../services/training/eligible.ts';
import type { EvidenceBook } from '../../services/training/evidence.ts';
import { type Opened, openPart } from '../../services/training/opening.ts';
import type { Agreement } from '../../state/agreement/agreement.ts';
import { type Charge, encodeCharge } from '../../state/ledger/charge.ts';
import { encodeEvidence } from '../../state/ledger/evidence.ts';
import type { Budget, Ledger } from '../../state/ledger/ledger.ts';
import type { Sizes } from '../../state/ledger/report.ts';

export interface PrivacyRooms {
  readonly ledger: Pick<Ledger, 'charge' | 'charges'>;
  readonly evidence: EvidenceBook;
}

const openRequest = z.strictObject({ round: z.int().min(0), part: z.enum(['set', 'seed']) });

/** `privacy` tells what was charged and what the agreement allows; `privacy-open` opens a part of an update to an auditor. */
export function privacyHandlers(
  agreement: Agreement,
  { ledger, evidence }: PrivacyRooms,
): Readonly<Record<'privacy' | 'privacy-open', ControlHandler>> {
  return {
    privacy: async () => ({ ledger: spendingOf(agreement, ledger.charges()) }),
    'privacy-open': async (given) => {
      const judged = openRequest.safeParse(given);
      if (!judged.success) throw new Error(z.prettifyError(judged.error));
      const { round, part } = judged.data;
      const budget = priceOf(agreement.terms, agreement.hash, round)?.budget;
      const opened = await openPart({ agreement: agreement.hash, budget, ledger, evidence }, round, part);
      return describeOpened(opened);
    },
  };
}

/**
 * What a report is made of. The accountant runs in the command's own process: it takes tenths of a second for each
 * block, in which a daemon would read no sensor.
 */
export interface Spending {
  readonly budget: Budget;
  readonly period: number | null;
  /** What a round costs. */
  readonly round: Mechanism;
  readonly sizes: Sizes;
  /** Each in its canonical form, base64. */
  readonly charges: readonly string[];
}

/** Null where the agreement asks for no privacy. */
export function spendingOf(agreement: Agreement, charges: readonly Charge[]): Spending | null {
  const price = priceOf(agreement.terms, agreement.hash, 0);
  if (!price) return null;
  return {
    budget: price.budget,
    period: agreement.terms.privacy?.period ?? null,
    round: price.charge.mechanism,
    sizes: sizesOf(agreement),
    charges: charges.map((charge) => toBase64(encodeCbor(encodeCharge(charge)))),
  };
}

/** A sample is in every window over it; of runs, one as long as the cap is looked at, since longer ones tell more. */
function sizesOf({ terms }: Agreement): Sizes {
  const { window, stride, cap } = terms.learning;
  return { windowsASample: Math.ceil(window / stride), windowsAnEpisode: Math.ceil(cap / stride) };
}

/** An opening as it is handed to an auditor: byte strings in hexadecimal, CBOR in base64. */
export interface OpenedFile {
  readonly agreement: string;
  readonly round: number;
  readonly part: 'set' | 'seed';
  readonly givesAway: string;
  /** The body of the training entry. */
  readonly evidence: string;
  /** The signed entry, COSE_Sign1. */
  readonly entry: string | null;
  readonly salt: string;
  readonly seed?: string;
  readonly episodes?: readonly {
    readonly machine: string;
    readonly end: string;
    readonly ended: number;
    readonly rows: number;
    readonly digest: string;
  }[];
  /** What the opening was charged now. */
  readonly charge: string | null;
}

function describeOpened({ update, opening, entry, charge, givesAway }: Opened): OpenedFile {
  return {
    agreement: toHex(update.agreement),
    round: update.round,
    part: opening.part,
    givesAway,
    evidence: toBase64(encodeCbor(encodeEvidence(update))),
    entry: entry ? toBase64(entry) : null,
    salt: toHex(opening.salt),
    ...(opening.part === 'seed'
      ? { seed: toHex(opening.seed) }
      : { episodes: opening.episodes.map((one) => ({ ...one, digest: toHex(one.digest) })) }),
    charge: charge ? toBase64(encodeCbor(encodeCharge(charge))) : null,
  };
}
