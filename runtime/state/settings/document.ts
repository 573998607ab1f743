import type { z } from 'zod';
import { discriminatorWords, wordsFor } from './allowed.ts';
import { joinPath } from './convert.ts';
import { absenceOf, metaOf, type Shape, shapeOf, toFileKey } from './shape.ts';

const WIDTH = 100;

/** What `documentSettings` takes. */
export interface DocumentOptions {
  /** Stands at the top. */
  readonly title?: string;
}

/**
 * Every key that `schema` knows as commented TOML: what it is for, what is allowed, its default. Lines that
 * begin with `# ` are prose; taking the `#` off any other line gives the default written out.
 */
export function documentSettings(schema: z.ZodType, options: DocumentOptions = {}): string {
  const lines: string[] = [];
  if (options.title !== undefined) lines.push(...prose(options.title), '');
  documentTable(schema, '', lines);
  return `${lines
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trimEnd()}\n`;
}

type Keys = ReadonlyMap<string, z.ZodType>;

/** A table's own keys come first and the tables below it after: TOML has no way back to a table above. */
function documentTable(schema: z.ZodType, path: string, lines: string[]): void {
  const shape = shapeOf(schema);
  if (shape.kind === 'choice') documentChoice(shape, path, lines);
  else if (shape.kind === 'record') {
    lines.push(...prose(`Any key, its value: ${wordsFor(shape.values) || 'anything'}.`), '');
  } else if (shape.kind === 'table') documentKeys(shape.keys, path, lines);
}

function documentKeys(keys: Keys, path: string, lines: string[]): void {
  const below: [string, z.ZodType][] = [];
  for (const [key, schema] of keys) {
    if (headerFor(schema, '') === undefined) lines.push(...documentKey(toFileKey(key), schema), '');
    else below.push([key, schema]);
  }
  for (const [key, schema] of below) {
    const inside = joinPath(path, toFileKey(key));
    const header = headerFor(schema, inside);
    const { description } = metaOf(schema);
    if (typeof description === 'string') lines.push(...prose(sentence(description)));
    if (!absenceOf(schema).required && header?.repeated === true) lines.push('# May be left out.');
    lines.push(`#${header?.text}`, '');
    documentTable(header?.schema ?? schema, inside, lines);
  }
}

interface Header {
  readonly text: string;
  readonly schema: z.ZodType;
  readonly repeated: boolean;
}

/** `[path]` for a table and `[[path]]` for a list of them; undefined where a key with a value stands. */
function headerFor(schema: z.ZodType, path: string): Header | undefined {
  const shape = shapeOf(schema);
  if (holdsTables(shape)) return { text: `[${path}]`, schema, repeated: false };
  const item = shape.kind === 'list' ? shape.items(0) : undefined;
  if (item === undefined || !holdsTables(shapeOf(item))) return undefined;
  return { text: `[[${path}]]`, schema: item, repeated: true };
}

function holdsTables(shape: Shape): boolean {
  if (shape.kind === 'choice') return shape.options.every((option) => holdsTables(shapeOf(option)));
  return shape.kind === 'table' || shape.kind === 'record';
}

function documentChoice(shape: Extract<Shape, { kind: 'choice' }>, path: string, lines: string[]): void {
  for (const option of shape.options) {
    const inner = shapeOf(option);
    if (inner.kind === 'choice') documentChoice(inner, path, lines);
    if (inner.kind !== 'table') continue;
    const { discriminator } = shape;
    const others = new Map([...inner.keys].filter(([key]) => key !== discriminator));
    const when =
      discriminator === undefined
        ? 'One way to write it:'
        : `With ${toFileKey(discriminator)} = ${discriminatorWords([option], discriminator)}:`;
    const { description } = metaOf(option);
    lines.push(...prose(typeof description === 'string' ? `${when} ${description}` : when), '');
    documentKeys(others, path, lines);
  }
}

function documentKey(key: string, schema: z.ZodType): string[] {
  const lines: string[] = [];
  const { description } = metaOf(schema);
  if (typeof description === 'string') lines.push(...prose(sentence(description)));
  const words = wordsFor(schema);
  if (words !== '') lines.push(...prose(`Allowed: ${words}.`));
  const { required, value } = absenceOf(schema);
  if (required) lines.push(`# ${key} = (must be given)`);
  else if (value === undefined) lines.push(`# ${key} = (may be left out)`);
  else lines.push(`#${key} = ${defaultText(schema, value)}`);
  return lines;
}

function defaultText(schema: z.ZodType, value: unknown): string {
  const { format } = metaOf(schema);
  if (typeof format === 'function' && typeof value !== 'string') return JSON.stringify(format(value));
  return toToml(value);
}

/** A value as TOML, tables inline. */
export function toToml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toToml).join(', ')}]`;
  if (value instanceof Date) return value.toISOString();
  if (typeof value === 'object' && value !== null) {
    const pairs = Object.entries(value).filter(([, inner]) => inner !== undefined);
    return pairs.length === 0
      ? '{}'
      : `{ ${pairs.map(([key, inner]) => `${joinPath('', toFileKey(key))} = ${toToml(inner)}`).join(', ')} }`;
  }
  return typeof value === 'string' ? tomlString(value) : String(value);
}

/** JSON's escapes are TOML's, but for DEL, which TOML wants escaped. */
function tomlString(text: string): string {
  return JSON.stringify(text).replaceAll('\u007f', '\\u007f');
}

function sentence(text: string): string {
  const trimmed = text.trim();
  // A symbol such as q keeps its case, a word at the beginning does not.
  const capital = /^[a-z][a-z]/.test(trimmed) ? trimmed.charAt(0).toUpperCase() + trimmed.slice(1) : trimmed;
  return /[.!?:]$/.test(capital) ? capital : `${capital}.`;
}

function prose(text: string): string[] {
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(/\s+/)) {
    if (line.length + word.length + 1 > WIDTH && line !== '#') {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}
