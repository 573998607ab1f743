import type { z } from 'zod';
import { allowedBy, oneOf, quoted } from './allowed.ts';
import { type ConversionFault, joinPath, type Placed } from './convert.ts';
import { shapeOf, toFileKey } from './shape.ts';
import { didYouMean } from './suggest.ts';

/** What zod is told to say where a schema has no message of its own: the words are then made here. */
export const MARK = '\u0000';

type Issue = z.core.$ZodIssue;

/**
 * zod's findings as faults with a place. `incomplete`: some of the file could not be read, so that what is
 * missing may well stand there and is not reported.
 */
export function faultsOf(
  issues: readonly Issue[],
  root: Placed,
  { incomplete }: { readonly incomplete: boolean },
): ConversionFault[] {
  const faults: ConversionFault[] = [];
  for (const issue of issues) judgeIssue(issue, root, incomplete, faults);
  return faults;
}

function judgeIssue(issue: Issue, root: Placed, incomplete: boolean, faults: ConversionFault[]): void {
  // convert.ts has found these, with the places of the keys
  if (issue.code === 'unrecognized_keys') return;
  const { found, missing, owner } = follow(root, issue.path);
  if (missing !== undefined) {
    if (!incomplete && !owner.excused.has(missing)) faults.push(missingFault(owner, missing, issue));
    return;
  }
  if (issue.code === 'invalid_union' && found.option !== undefined) {
    const chosen = issue.errors[found.option];
    if (chosen !== undefined && chosen.length > 0) {
      for (const inner of chosen) judgeIssue(inner, found, incomplete, faults);
      return;
    }
  }
  if (issue.code === 'invalid_key' || issue.code === 'invalid_element') {
    const place = { line: found.line, column: found.column, path: found.path };
    const own = issue.issues.map(({ message }) => message).find((message) => message !== MARK);
    faults.push({ ...place, message: own ?? 'this key is not allowed here', allowed: '' });
    return;
  }
  faults.push(valueFault(found, issue));
}

/** Goes along a path; `missing` is the first key on it that the file does not have, `owner` where it lacks. */
function follow(
  root: Placed,
  path: readonly PropertyKey[],
): { readonly found: Placed; readonly missing: string | undefined; readonly owner: Placed } {
  let found = root;
  for (const step of path) {
    const child = found.children.get(typeof step === 'number' ? step : String(step));
    if (child === undefined) return { found, missing: String(step), owner: found };
    found = child;
  }
  return { found, missing: undefined, owner: found };
}

function missingFault(owner: Placed, key: string, issue: Issue): ConversionFault {
  const schema = schemaOfKey(owner, key);
  const path = joinPath(owner.path, toFileKey(key));
  const message = issue.message === MARK ? 'is missing' : issue.message;
  const allowed = schema === undefined ? '' : allowedBy(schema);
  return { line: owner.line, column: owner.column, path, message, allowed };
}

function schemaOfKey(owner: Placed, key: string): z.ZodType | undefined {
  if (owner.schema === undefined) return undefined;
  const shape = shapeOf(owner.schema);
  if (shape.kind === 'table') return shape.keys.get(key);
  if (shape.kind !== 'choice') return undefined;
  const options =
    owner.option === undefined ? shape.options : shape.options.slice(owner.option, owner.option + 1);
  for (const option of options) {
    const inner = shapeOf(option);
    const schema = inner.kind === 'table' ? inner.keys.get(key) : undefined;
    if (schema !== undefined) return schema;
  }
  return undefined;
}

function valueFault(found: Placed, issue: Issue): ConversionFault {
  const options = discriminators(issue);
  const described = found.schema === undefined ? '' : allowedBy(found.schema);
  const allowed = options === undefined ? described : oneOf(options.map(quoted));
  const message = issue.message === MARK ? describe(found, issue) : issue.message;
  return { line: found.line, column: found.column, path: found.path, message, allowed };
}

/** The words that tell the forms of a table apart, where none of them stands there. */
function discriminators(issue: Issue): readonly unknown[] | undefined {
  return issue.code === 'invalid_union' && 'options' in issue ? issue.options : undefined;
}

function describe(found: Placed, issue: Issue): string {
  const shown = show(found.value);
  switch (issue.code) {
    case 'invalid_type':
      return `${shown} is ${kindOf(found.value)}, ${KINDS[issue.expected] ?? issue.expected} is asked for`;
    case 'too_small':
      return isSized(found.value) ? `${shown} is too short` : `${shown} is too small`;
    case 'too_big':
      return isSized(found.value) ? `${shown} is too long` : `${shown} is too big`;
    case 'not_multiple_of':
      return `${shown} is not a multiple of ${issue.divisor}`;
    case 'invalid_value':
      return `${shown} is not one of the possible values${meant(found, issue.values)}`;
    case 'invalid_union':
      return `${shown} is not possible here${meant(found, discriminators(issue) ?? [])}`;
    case 'invalid_format':
      return `${shown} does not have the right form`;
    default:
      return `${shown} is not possible here`;
  }
}

function meant(found: Placed, values: readonly unknown[]): string {
  if (typeof found.value !== 'string') return '';
  const words = values.filter((value) => typeof value === 'string');
  const word = didYouMean(found.value, words);
  return word === undefined ? '' : `; did you mean ${quoted(word)}?`;
}

function isSized(value: unknown): boolean {
  return typeof value === 'string' || Array.isArray(value);
}

/** A value in a message: short, and as the file has it. */
function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null && !(value instanceof Date)) return 'a table';
  const text = quoted(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function kindOf(value: unknown): string {
  if (value instanceof Date) return 'a date and time';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return 'text';
  if (typeof value === 'boolean') return 'true or false';
  if (typeof value !== 'number') return 'a table';
  return Number.isInteger(value) ? 'a whole number' : 'a number';
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  date: 'a date and time',
  array: 'a list',
  tuple: 'a list',
  object: 'a table',
  record: 'a table',
};
