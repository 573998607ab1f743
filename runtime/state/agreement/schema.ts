/** What may stand in an agreement's TOML. Keys are snake_case in the file. */
import { z } from 'zod';
import { duration, hostPort, name } from '../settings/units.ts';

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

const learning = z.strictObject({
  stream: name().describe('the stream that is learned from'),
  inputs: z.array(z.string()).max(256).optional().describe('channels the model sees; all when absent'),
  window: z.int().min(2).max(10_000).describe('samples in a window'),
  minimum: z.int().min(2).max(10_000).describe('samples below which an episode has no window'),
  slopeScale: z.number().positive().describe('factor that brings slopes to the size of means'),
  cap: z.number().positive().describe('remaining useful life is capped at this many samples'),
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
});

const privacy = z.strictObject({
  epsilon: z.number().positive().max(1000),
  delta: z.number().gt(0).lt(1),
  noiseMultiplier: z.number().positive().describe('sigma: noise has deviation sigma times the clip norm'),
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
    learning,
    training,
    privacy: privacy.optional().describe('absent only when the unit is none'),
    federation,
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
    if (agreement.federation.minimumBatch > agreement.member.length) {
      fault(['federation', 'minimumBatch'], `there are only ${agreement.member.length} members`);
    }
    if (agreement.member.every((member) => member.gateway.every((gateway) => !gateway.address))) {
      fault(['member'], 'no gateway has an address: at least one must be reachable for the others to meet');
    }
    const names = new Set(agreement.channel.map((entry) => entry.name));
    for (const [index, input] of (agreement.learning.inputs ?? []).entries()) {
      if (!names.has(input)) fault(['learning', 'inputs', index], `no channel is called ${input}`);
    }
    for (const [index, entry] of agreement.condition.entries()) {
      if (entry.ranges.length !== agreement.channel.length) {
        fault(
          ['condition', index, 'ranges'],
          `${entry.ranges.length} ranges for ${agreement.channel.length} channels`,
        );
      }
    }
  });

export type AgreementTerms = z.output<typeof agreementSchema>;
