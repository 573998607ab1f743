import { z } from 'zod';
import { definitionOf, metaOf, shapeOf, toFileKey, unwrap } from './shape.ts';

/** Longer lists of possible words are cut: the whole list stands in `kosmos config doc`. */
const MOST_WORDS = 24;

/** The limits of a schema, as JSON Schema writes them. */
interface Limits {
  readonly type?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly multipleOf?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
  readonly format?: string;
}

/** In words, what may stand where `schema` judges, its description behind it; '' if nothing can be said. */
export function allowedBy(schema: z.ZodType): string {
  const words = wordsFor(schema);
  const { description } = metaOf(schema);
  if (typeof description !== 'string') return words;
  return words === '' ? description : `${words} (${description})`;
}

/** In words, what may stand where `schema` judges. A schema says it itself by `.meta({ allowed: '...' })`. */
export function wordsFor(schema: z.ZodType): string {
  const { allowed } = metaOf(schema);
  if (typeof allowed === 'string') return allowed;
  const inner = unwrap(schema);
  const definition = definitionOf(inner);
  switch (definition.type) {
    case 'string':
      return textWords(limitsOf(inner));
    case 'number':
    case 'int':
      return numberWords(limitsOf(inner));
    case 'boolean':
      return 'true or false';
    case 'date':
      return 'a date and time, such as 2030-01-31T12:00:00Z';
    case 'enum':
      return oneOf(Object.values(definition.entries ?? {}).map(quoted));
    case 'literal':
      return oneOf((definition.values ?? []).map(quoted));
    case 'union':
      return choiceWords(inner);
    default:
      return compoundWords(inner);
  }
}

function compoundWords(schema: z.ZodType): string {
  const shape = shapeOf(schema);
  if (shape.kind === 'table')
    return `a table with the keys ${[...shape.keys.keys()].map(toFileKey).join(', ')}`;
  if (shape.kind === 'record') return `a table whose values are each ${wordsFor(shape.values) || 'anything'}`;
  if (shape.kind !== 'list') return '';
  const item = shape.items(0);
  const { minItems, maxItems } = limitsOf(schema);
  const length = lengthWords(minItems, maxItems, 'entry', 'entries');
  return `a list${length} of ${(item === undefined ? '' : wordsFor(item)) || 'values'}`;
}

function choiceWords(schema: z.ZodType): string {
  const shape = shapeOf(schema);
  if (shape.kind !== 'choice') return '';
  const { discriminator, options } = shape;
  if (discriminator === undefined) return [...new Set(options.map(wordsFor))].filter(Boolean).join(', or ');
  return `a table whose ${toFileKey(discriminator)} is ${discriminatorWords(options, discriminator)}`;
}

/** The words that tell the options of a discriminated union apart. */
export function discriminatorWords(options: readonly z.ZodType[], discriminator: string): string {
  const values = options.flatMap((option) => {
    const shape = shapeOf(option);
    const key = shape.kind === 'table' ? shape.keys.get(discriminator) : undefined;
    return key === undefined ? [] : [...(unwrap(key)._zod.values ?? [])];
  });
  return oneOf(values.map(quoted));
}

function limitsOf(schema: z.ZodType): Limits {
  return z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' }) as Limits;
}

function textWords(limits: Limits): string {
  const length = lengthWords(limits.minLength, limits.maxLength, 'character', 'characters');
  if (limits.format !== undefined) return `text${length} (${limits.format})`;
  return limits.pattern === undefined ? `text${length}` : `text${length} of the form ${limits.pattern}`;
}

function lengthWords(least: number | undefined, most: number | undefined, one: string, many: string): string {
  const noun = (count: number): string => `${count} ${count === 1 ? one : many}`;
  if (least !== undefined && most !== undefined) {
    return least === most ? ` of ${noun(least)}` : ` of ${least} to ${noun(most)}`;
  }
  if (least !== undefined) return ` of at least ${noun(least)}`;
  return most === undefined ? '' : ` of at most ${noun(most)}`;
}

function numberWords(limits: Limits): string {
  const noun = limits.type === 'integer' ? 'a whole number' : 'a number';
  const low = limits.minimum === Number.MIN_SAFE_INTEGER ? undefined : limits.minimum;
  const high = limits.maximum === Number.MAX_SAFE_INTEGER ? undefined : limits.maximum;
  const words = [
    low !== undefined && high !== undefined ? `from ${low} to ${high}` : '',
    low !== undefined && high === undefined ? `of at least ${low}` : '',
    low === undefined && high !== undefined ? `of at most ${high}` : '',
    limits.exclusiveMinimum === undefined ? '' : `above ${limits.exclusiveMinimum}`,
    limits.exclusiveMaximum === undefined ? '' : `below ${limits.exclusiveMaximum}`,
    limits.multipleOf === undefined ? '' : `in steps of ${limits.multipleOf}`,
  ].filter((part) => part !== '');
  return [noun, words.join(' and ')].filter((part) => part !== '').join(' ');
}

/** `"a" or "b"`, `one of "a", "b", "c"`. */
export function oneOf(words: readonly string[]): string {
  const shown = words.slice(0, MOST_WORDS);
  if (words.length > MOST_WORDS) return `one of ${shown.join(', ')}, ...`;
  if (shown.length <= 2) return shown.join(' or ');
  return `one of ${shown.join(', ')}`;
}

/** A value as it would stand in the file. */
export function quoted(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
