import { epsilonFromRates } from '../../runtime/core/privacy/audit.ts';
import { upperLimit } from '../../runtime/core/privacy/binomial.ts';
import type { Scores } from './canary.ts';

/** What the scores prove by the test whose threshold is the claim. */
export interface BoundAtClaim {
  /** With the stated confidence, the trainer's epsilon at delta is at least this. */
  readonly epsilon: number;
  /** Trainings without the canary that scored above the threshold, and with it that did not. */
  readonly falsePositives: number;
  readonly falseNegatives: number;
}

/**
 * A lower bound on epsilon from the trainings that score above the claimed epsilon. Where scores are logarithms of
 * likelihood ratios, these are the ones that break a claim most: among all sets S, P(S) - exp(epsilon) Q(S) is
 * largest for {ln(P / Q) > epsilon}, and a claim that is tight holds with equality there. As the threshold is not
 * chosen by what was observed, all trainings count, and how surely a broken claim comes out can be computed.
 */
export function boundAtClaim(
  { withCanary, withoutCanary }: Scores,
  { claimed, delta, confidence }: { claimed: number; delta: number; confidence: number },
): BoundAtClaim {
  const error = (1 - confidence) / 2;
  const falsePositives = withoutCanary.filter((score) => score > claimed).length;
  const falseNegatives = withCanary.filter((score) => !(score > claimed)).length;
  const epsilon = epsilonFromRates(
    upperLimit(falsePositives, withoutCanary.length, error),
    upperLimit(falseNegatives, withCanary.length, error),
    delta,
  );
  return { epsilon, falsePositives, falseNegatives };
}
