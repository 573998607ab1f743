/** What may stand in an agreement's TOML. Keys are snake_case in the file. */
import { z } from 'zod';
import { FEATURES, LABELS, WHOLE_WINDOWS } from '../../core/learning/kinds.ts';
import { tellsAnswer } from '../../core/learning/labels.ts';
import { duration, hostPort, name } from '../settings/units.ts';

/** Inputs of a model; the most that a layer takes. */
const MOST_INPUTS = 65_536;

const base64Key = z
  .string()
  .regex(/^[A-Za-z0-9+/]{43}=$/, 'is not an Ed25519 public key: 32 bytes in base64, 44 characters')
  .describe('Ed25519 public key in base64');

const channel = z
  .strictObject({
    name: z.string().min(1).max(64),
    unit: z.string().max(16).describe('SenML unit (RFC 8428)'),
    low: z.number().describe('lower end of the range in the data sheet; what lies below is clipped'),
    high: z.number().describe('upper end of the range'),
    leastWidth: z.number().positive().describe('a narrower range is widened to this'),
  })
  .refine((range) => range.low <= range.high, { message: 'low is above high', path: ['low'] });

const condition = z.strictObject({
  name: z.string().min(1).max(64),
  when: z
    .array(z.strictObject({ channel: z.string(), near: z.number(), within: z.number().positive() }))
    .min(1)
    .max(8),
  ranges: z
    .array(z.strictObject({ low: z.number(), high: z.number(), leastWidth: z.number().positive() }))
    .max(256),
});

/** A data sheet: the channels of a kind of machine, and their ranges. */
export const dataSheetSchema = z.strictObject({
  channel: z
    .array(channel)
    .min(1)
    .max(256)
    .describe('one table a channel, in the order of a sample’s values'),
  condition: z
    .array(condition)
    .max(32)
    .default([])
    .describe('ranges for each operating condition, where there are several'),
});

const learningSchema = z.strictObject({
  stream: name().describe('the stream that is learned from'),
  inputs: z.array(z.string()).max(256).optional().describe('channels the model sees; all when absent'),
  window: z.int().min(2).max(10_000).describe('rows in a window'),
  minimum: z.int().min(2).max(10_000).describe('rows below which an episode has no window'),
  stride: z.int().min(1).max(10_000).default(1).describe('rows from one window to the next'),
  period: duration({ least: '1ms', most: '30d' })
    .optional()
    .describe('samples are resampled to rows so far apart; a sample is a row when absent'),
  maxGap: duration({ least: '1ms', most: '365d' })
    .optional()
    .describe(
      'a longer hole between samples begins a new history, and no window spans it; with a period, one of a window does so too',
    ),
  features: z
    .array(z.enum(FEATURES))
    .min(1)
    .max(FEATURES.length)
    .default(['means', 'slopes'])
    .describe('what a window is described by, in this order'),
  bands: z
    .int()
    .min(1)
    .max(4096)
    .optional()
    .describe('bands of equal width that the spectrum is summed in; for the feature "bands"'),
  conditionInputs: z
    .boolean()
    .default(false)
    .describe('whether the operating conditions are inputs too: 1 in rows that meet one, else 0'),
  slopeScale: z.number().positive().describe('factor that brings slopes to the size of means'),
  label: z
    .enum(LABELS)
    .default('remaining-life')
    .describe(
      'what is learned: remaining life up to the cap, failure within the horizon, or the healthy state',
    ),
  cap: z
    .number()
    .positive()
    .describe(
      'remaining life is capped at this many rows; label "none": rows before a failure that are no longer healthy',
    ),
  horizon: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe('rows within which a failure is foretold; for the label "failure-within"'),
  model: z
    .enum(['dense', 'convolution', 'autoencoder'])
    .default('dense')
    .describe('kind of network; dense without hidden layers is linear'),
  filters: z
    .array(
      z.strictObject({
        count: z.int().min(1).max(1024),
        width: z.int().min(1).max(1024),
        stride: z.int().min(1).max(1024),
      }),
    )
    .min(1)
    .max(8)
    .optional()
    .describe('layers of a convolution, from the input on'),
  hidden: z.array(z.int().min(1).max(4096)).max(8).describe('units of each hidden layer'),
  activation: z.enum(['relu', 'tanh', 'elu']),
});

const optimiser = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('sgd'), momentum: z.number().min(0).lt(1) }),
  z.strictObject({
    kind: z.literal('adam'),
    beta1: z.number().min(0).lt(1),
    beta2: z.number().min(0).lt(1),
    epsilon: z.number().positive(),
  }),
]);

const clipping = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('flat') }),
  z.strictObject({
    kind: z.literal('adaptive'),
    quantile: z.number().gt(0).lt(1).describe('part of the units that the clip norm leaves as they are'),
    learningRate: z.number().positive().max(10).describe('how fast the clip norm follows'),
    countNoise: z.number().positive().describe('deviation of the noise on the count of units under the norm'),
  }),
]);

const training = z.strictObject({
  unit: z
    .enum(['window', 'episode', 'none'])
    .describe('what one unit of privacy is; none only for comparison'),
  clipNorm: z.number().positive().describe('C: the L2 norm a unit’s gradient is clipped to'),
  samplingRate: z.number().gt(0).max(1).describe('q: the Poisson rate at which a unit takes part in a step'),
  expectedBatch: z.number().positive().describe('units a step’s sum is divided by, agreed and not counted'),
  minimumEpisodes: z
    .int()
    .min(1)
    .max(1_000_000)
    .describe('a gateway with fewer finished episodes does not contribute: noise would be all it adds'),
  stepsPerRound: z.int().min(1).max(100_000),
  firstLearningRate: z.number().positive().describe('learning rate of the first round'),
  lastLearningRate: z
    .number()
    .positive()
    .describe('learning rate of the last round; between them it falls geometrically'),
  optimiser,
  sampler: z
    .enum(['poisson', 'passes'])
    .default('poisson')
    .describe('who takes part in a step: a draw, or batches in a fixed order with tree-aggregated noise'),
  clipping: clipping.default({ kind: 'flat' }),
});

const privacy = z.strictObject({
  epsilon: z.number().positive().max(1000),
  delta: z.number().gt(0).lt(1),
  noiseMultiplier: z.number().positive().describe('sigma: noise has deviation sigma times the clip norm'),
  period: duration({ least: '1h', most: '3650d' })
    .optional()
    .describe('data that ended in one period have a budget of their own; one budget for all when absent'),
});

const prediction = z.strictObject({
  coverage: z
    .number()
    .min(0.5)
    .max(0.99)
    .default(0.9)
    .describe('how often the interval of a prediction is to hold the truth'),
  alarm: z
    .strictObject({
      horizon: z.number().positive().describe('rows: remaining life at or below it is a reason for an alarm'),
      persistence: z.int().min(1).max(10_000).default(1).describe('predictions in a row that it takes'),
      hysteresis: z.number().min(0).default(0).describe('rows above the horizon at which the alarm ends'),
    })
    .optional()
    .describe('when a prediction becomes a fault entry; never when absent'),
});

const federation = z.strictObject({
  mode: z.literal('fedavg'),
  rounds: z
    .int()
    .min(1)
    .max(1_000_000)
    .describe('rounds this epoch makes; learning rates are planned over them'),
  minimumBatch: z.int().min(3).max(1000).describe('contributors below which nothing is summed'),
  committee: z.int().min(3).max(16).describe('gateways that hold shares'),
  updateBound: z.number().positive().describe('values of an update are clipped to plus and minus this'),
  fractionBits: z.int().min(8).max(40).describe('fixed-point digits of an update'),
  interval: duration({ least: '0ms', most: '30d' }).describe('rest between two rounds'),
  phaseLimit: duration({ least: '1s', most: '1h' }).describe('how long a step of a round may take'),
  averageLast: z
    .int()
    .min(1)
    .max(1000)
    .default(1)
    .describe('models of this many last rounds are averaged to predict with'),
});

const gateway = z.strictObject({
  name: name(),
  address: hostPort()
    .optional()
    .describe('host:port at which its peers reach it; absent when it may only dial out'),
  identity: base64Key,
  endorsement: z.base64().max(4096).describe('the identity key’s word for the gateway’s other keys'),
});

const member = z.strictObject({
  name: name(),
  key: base64Key.describe('the company’s own key; it signs the agreement'),
  gateway: z.array(gateway).min(1).max(1000),
});

/** The whole document. */
export const agreementSchema = z
  .strictObject({
    consortium: name(),
    epoch: z.int().min(1).describe('version of the agreement'),
    log: z.strictObject({
      checkpointInterval: duration({ least: '100ms', most: '1d' }).describe('cadence of signed tree heads'),
      padding: z
        .int()
        .min(0)
        .max(4096)
        .default(0)
        .describe(
          'logs grow in steps of so many leaves, at every checkpoint, so that they do not show how much is produced; 0: as it comes',
        ),
    }),
    learning: learningSchema,
    training,
    privacy: privacy.optional().describe('absent only when the unit is none'),
    federation,
    prediction: prediction.default({ coverage: 0.9 }),
    ...dataSheetSchema.shape,
    member: z.array(member).min(3).max(1000),
  })
  .superRefine((agreement, context) => {
    const fault = (path: (string | number)[], message: string) =>
      context.addIssue({ code: 'custom', path, message });
    if (agreement.training.unit !== 'none' && !agreement.privacy) {
      fault(['privacy'], `a budget is needed when the unit is ${agreement.training.unit}`);
    }
    if (agreement.training.unit === 'none' && agreement.privacy) {
      fault(['privacy'], 'a budget has no meaning when the unit is none');
    }
    for (const { path, message } of learningFaults(agreement)) {
      fault(['learning', ...path], message);
    }
    if (agreement.federation.minimumBatch > agreement.member.length) {
      fault(['federation', 'minimumBatch'], `there are only ${agreement.member.length} members`);
    }
    if (agreement.member.every((member) => member.gateway.every((gateway) => !gateway.address))) {
      fault(['member'], 'no gateway has an address: at least one must be reachable for the others to meet');
    }
    const names = new Set(agreement.channel.map((entry) => entry.name));
    if (names.size !== agreement.channel.length) fault(['channel'], 'two channels have one name');
    for (const [index, input] of (agreement.learning.inputs ?? []).entries()) {
      if (!names.has(input)) fault(['learning', 'inputs', index], `no channel is called ${input}`);
    }
    for (const [index, entry] of agreement.condition.entries()) {
      for (const [at, { channel }] of entry.when.entries()) {
        if (!names.has(channel))
          fault(['condition', index, 'when', at, 'channel'], `no channel is called ${channel}`);
      }
      for (const [at, { low, high }] of entry.ranges.entries()) {
        if (low > high) fault(['condition', index, 'ranges', at, 'low'], 'low is above high');
      }
      if (entry.ranges.length !== agreement.channel.length) {
        fault(
          ['condition', index, 'ranges'],
          `${entry.ranges.length} ranges for ${agreement.channel.length} channels`,
        );
      }
    }
  });

export type AgreementTerms = z.output<typeof agreementSchema>;

interface LearningFault {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

type SeenByModel = 'learning' | 'channel' | 'condition';

/** What single keys cannot tell: which of them go together. */
function learningFaults({
  learning,
  channel,
  condition,
}: Pick<AgreementTerms, SeenByModel>): LearningFault[] {
  const { label, horizon, features, bands, model, filters, period, maxGap, window, minimum } = learning;
  const inputs = learning.inputs ?? channel.map((entry) => entry.name);
  const answer = inputs.find(tellsAnswer);
  const seen = inputs.length + (learning.conditionInputs ? condition.length : 0);
  const faults: [boolean, string, string][] = [
    [minimum > window, 'minimum', `the least window is longer than a window of ${window}`],
    [new Set(inputs).size !== inputs.length, 'inputs', 'a channel stands there twice'],
    [answer !== undefined, 'inputs', `${answer} tells what is to be foretold: name the inputs without it`],
    [
      learning.conditionInputs && condition.length === 0,
      'conditionInputs',
      'has no meaning without operating conditions',
    ],
    [learning.inputs?.length === 0, 'inputs', 'a model that sees no channel learns nothing'],
    [new Set(features).size !== features.length, 'features', 'a feature stands there twice'],
    [features.includes('bands') && bands === undefined, 'bands', 'needed for the feature "bands"'],
    [
      !features.includes('bands') && bands !== undefined,
      'bands',
      'has no meaning without the feature "bands"',
    ],
    [
      bands !== undefined && bands > window / 2,
      'bands',
      `a window of ${window} rows has a spectrum of ${Math.floor(window / 2)} lines`,
    ],
    [label === 'failure-within' && horizon === undefined, 'horizon', 'needed for the label "failure-within"'],
    [
      label !== 'failure-within' && horizon !== undefined,
      'horizon',
      `has no meaning for the label "${label}"`,
    ],
    [
      (label === 'none') !== (model === 'autoencoder'),
      'model',
      'label "none" and model "autoencoder" go together',
    ],
    [
      model === 'autoencoder' && learning.hidden.length === 0,
      'hidden',
      'an autoencoder needs a hidden layer',
    ],
    [model === 'convolution' && filters === undefined, 'filters', 'needed for the model "convolution"'],
    [model !== 'convolution' && filters !== undefined, 'filters', `has no meaning for the model "${model}"`],
    [
      model === 'convolution' && features.join() !== 'raw',
      'features',
      'a convolution runs over the rows themselves: only "raw" can stand here',
    ],
    [
      features.some((feature) => WHOLE_WINDOWS.includes(feature)) && minimum !== window,
      'minimum',
      `raw rows and bands need whole windows: it has to be ${window}`,
    ],
    [
      period !== undefined && maxGap !== undefined && maxGap < period,
      'maxGap',
      'is shorter than the period: no two rows would belong together',
    ],
    [
      featureWidth(learning, seen) > MOST_INPUTS,
      'features',
      `make a model of more than ${MOST_INPUTS} inputs`,
    ],
  ];
  return faults.flatMap(([wrong, key, message]) => (wrong ? [{ path: [key], message }] : []));
}

/** As `featureCount` of the windows made of this. */
function featureWidth(
  { features, bands = 0, window }: z.output<typeof learningSchema>,
  channels: number,
): number {
  const each = { raw: window, bands } as const;
  return features.reduce(
    (sum, feature) => sum + channels * (feature === 'raw' || feature === 'bands' ? each[feature] : 1),
    0,
  );
}
