import { z } from 'zod';
import type { DataSheet } from '../../core/learning/features.ts';

const range = z
  .object({
    low: z.number().describe('the least value the data sheet allows for, in the unit of the channel'),
    high: z.number().describe('the greatest value the data sheet allows for'),
    leastWidth: z.number().positive().describe('a narrower range is widened to this about its middle'),
  })
  .refine(({ low, high }) => low <= high, { message: 'low is above high', path: ['low'] });

const channel = range.safeExtend({
  name: z.string().min(1).max(64).describe('SenML name of the channel, as its driver calls it'),
  unit: z.string().min(1).max(32).describe('SenML unit'),
});

const condition = z.object({
  name: z.string().min(1).max(64).describe('what people call this operating point'),
  when: z
    .record(z.string(), z.object({ near: z.number(), within: z.number().positive() }))
    .describe('the channels that tell it, and how near to which value they are then'),
  range: z
    .record(z.string(), range)
    .default({})
    .describe('ranges that differ at this operating point, by channel'),
});

/** The file that holds the ranges of a kind of machine: what `config/datasheets/` has examples of. */
export const dataSheetSettings = z
  .object({
    channel: z.array(channel).min(1).max(1024).describe('the channels, in the order of their values'),
    condition: z.array(condition).max(64).default([]).describe('operating points with ranges of their own'),
  })
  .superRefine((sheet, context) => {
    const names = sheet.channel.map(({ name }) => name);
    names.forEach((name, index) => {
      if (names.indexOf(name) === index) return;
      context.addIssue({
        code: 'custom',
        path: ['channel', index, 'name'],
        message: `there are two channels ${name}`,
      });
    });
    sheet.condition.forEach((entry, index) => {
      for (const key of ['when', 'range'] as const) {
        for (const name of Object.keys(entry[key]).filter((other) => !names.includes(other))) {
          const path = ['condition', index, key, name];
          context.addIssue({ code: 'custom', path, message: `there is no channel ${name}` });
        }
      }
    });
  });

/** The data sheet that a file's judged settings describe. */
export function dataSheetOf(settings: z.output<typeof dataSheetSettings>): DataSheet {
  const channels = settings.channel;
  const conditions = settings.condition.map((entry) => ({
    name: entry.name,
    when: Object.entries(entry.when).map(([name, near]) => ({ channel: name, ...near })),
    ranges: channels.map((own) => entry.range[own.name] ?? own),
  }));
  return conditions.length === 0 ? { channels } : { channels, conditions };
}
