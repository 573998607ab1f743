/** What the demo comes to: the numbers of all gateways, and the model's error on machines nobody trained on. */
import { type Evaluation, evaluateLastWindows } from '../../core/learning/evaluate.ts';
import { featureCount } from '../../core/learning/features.ts';
import type { GatewayStatus } from '../../status.ts';
import type { DemoOptions, DemoPlan } from './options.ts';

export interface DemoSummary {
  readonly gateways: number;
  readonly rounds: number;
  readonly samples: number;
  readonly signaturesVerified: number;
  readonly checkpoints: number;
  readonly cosignatures: number;
  readonly test: { readonly rmse: number; readonly score: number; readonly engines: number };
  readonly epsilon: number | 'off';
  readonly delta: number;
  readonly unit: 'window' | 'episode' | 'none';
  readonly wallSeconds: number;
  readonly directory: string;
  readonly failures: readonly string[];
}

/** The error of a model on the plan's evaluation machines. */
export function evaluate(plan: DemoPlan, parameters: Float64Array): Evaluation {
  const { hidden, activation } = plan.terms.learning;
  const model = {
    kind: 'dense' as const,
    inputs: featureCount(plan.sheet, plan.windows),
    hidden,
    activation,
  };
  return evaluateLastWindows(model, parameters, plan.evaluation, plan.sheet, plan.windows);
}

export function summarise(
  options: DemoOptions,
  plan: DemoPlan,
  statuses: readonly GatewayStatus[],
  test: Evaluation,
  wallMs: number,
  failures: readonly string[],
): DemoSummary {
  const total = (pick: (status: GatewayStatus) => number) =>
    statuses.reduce((sum, status) => sum + pick(status), 0);
  const privacy = statuses.flatMap((status) => status.privacy ?? []);
  return {
    gateways: options.gateways,
    rounds: Math.max(0, ...statuses.map((status) => status.federation.version)),
    samples: total((status) => status.acquisition.streams.reduce((sum, stream) => sum + stream.samples, 0)),
    signaturesVerified: total((status) => status.signaturesVerified),
    checkpoints: total((status) => status.log.checkpoints),
    cosignatures: total((status) => status.log.cosignatures),
    test: { rmse: rounded(test.rmse), score: rounded(test.score), engines: test.engines },
    // The most that any one gateway has spent: each protects its own machines.
    epsilon: plan.terms.privacy ? rounded(Math.max(0, ...privacy.map((one) => one.spent))) : 'off',
    delta: plan.terms.privacy?.delta ?? 0,
    unit: plan.terms.training.unit,
    wallSeconds: rounded(wallMs / 1000),
    directory: options.directory,
    failures,
  };
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
