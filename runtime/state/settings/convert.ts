import type { z } from 'zod';
import { type Shape, shapeOf, toFileKey } from './shape.ts';
import { didYouMean } from './suggest.ts';
import type { Node, Place, TableNode } from './tree.ts';

/** A value as the schema names its keys, with the place in the file of everything in it. */
export interface Placed extends Place {
  /** As it is written in the file: `machine[2].stream[0].interval`. */
  readonly path: string;
  readonly schema: z.ZodType | undefined;
  /** By the schema's key, or by index. */
  readonly children: ReadonlyMap<string | number, Placed>;
  /** What is judged. */
  readonly value: unknown;
  /** Keys that a misspelt one was probably meant to be: that they are missing need not be said. */
  readonly excused: ReadonlySet<string>;
  /** Of a plain union, the option that fits what stands there best. */
  readonly option: number | undefined;
}

/** Something wrong with the keys themselves, or with a number no program could hold. */
export interface ConversionFault extends Place {
  readonly path: string;
  readonly message: string;
  readonly allowed: string;
}

/** Renames `snake_case` keys to the schema's, and finds those that it does not know. */
export function convert(
  node: Node,
  schema: z.ZodType,
): { readonly placed: Placed; readonly faults: ConversionFault[] } {
  const faults: ConversionFault[] = [];
  return { placed: place(node, schema, '', faults), faults };
}

function place(node: Node, schema: z.ZodType | undefined, path: string, faults: ConversionFault[]): Placed {
  if (node.kind === 'value') return placeValue(node, schema, path, faults);
  const { shape, option } = chooseShape(node, schema);
  if (node.kind === 'table') return { ...placeTable(node, shape, path, faults), schema, option };

  const children = new Map<string | number, Placed>();
  node.items.forEach((item, index) => {
    const below = shape.kind === 'list' ? shape.items(index) : undefined;
    children.set(index, place(item, below, `${path}[${index}]`, faults));
  });
  const value = [...children.values()].map((child) => child.value);
  return { ...at(node), path, schema, children, value, excused: new Set(), option };
}

function at({ line, column }: Place): Place {
  return { line, column };
}

function placeValue(
  node: Extract<Node, { kind: 'value' }>,
  schema: z.ZodType | undefined,
  path: string,
  faults: ConversionFault[],
): Placed {
  if (node.tooBig !== undefined) {
    const message = `${node.tooBig} is too big to be held exactly`;
    faults.push({ ...at(node), path, message, allowed: `whole numbers up to ${Number.MAX_SAFE_INTEGER}` });
  }
  const { value } = node;
  return { ...at(node), path, schema, children: new Map(), value, excused: new Set(), option: undefined };
}

/** The tables and lists of a choice: the one its discriminator names, else the one whose keys fit best. */
function chooseShape(
  node: Node,
  schema: z.ZodType | undefined,
): { shape: Shape; option: number | undefined } {
  if (schema === undefined) return { shape: { kind: 'anything' }, option: undefined };
  const shape = shapeOf(schema);
  if (shape.kind !== 'choice') return { shape, option: undefined };

  const ranked = shape.options
    .map((option, index) => ({ index, score: fit(node, option, shape.discriminator) }))
    .sort((a, b) => b.score - a.score);
  const best = ranked[0];
  const chosen = best === undefined ? undefined : shape.options[best.index];
  if (best === undefined || chosen === undefined || best.score < 0) {
    return { shape: { kind: 'anything' }, option: undefined };
  }
  return { shape: chooseShape(node, chosen).shape, option: best.index };
}

function fit(node: Node, option: z.ZodType, discriminator: string | undefined): number {
  const shape = shapeOf(option);
  if (shape.kind === 'choice') {
    return Math.max(-1, ...shape.options.map((inner) => fit(node, inner, shape.discriminator)));
  }
  if (node.kind === 'list') return shape.kind === 'list' ? 1 : -1;
  if (node.kind !== 'table' || (shape.kind !== 'table' && shape.kind !== 'record')) return -1;
  if (shape.kind === 'record') return 0;
  if (discriminator !== undefined) {
    const said = node.entries.get(toFileKey(discriminator))?.node;
    const key = shape.keys.get(discriminator);
    return said?.kind === 'value' && key?.safeParse(said.value).success === true ? 1 : -1;
  }
  return [...shape.keys.keys()].filter((key) => node.entries.has(toFileKey(key))).length;
}

function placeTable(
  table: TableNode,
  shape: Shape,
  path: string,
  faults: ConversionFault[],
): Omit<Placed, 'schema' | 'option'> {
  const children = new Map<string | number, Placed>();
  const known = shape.kind === 'table' ? shape.keys : new Map<string, z.ZodType>();
  const byFileKey = new Map([...known.keys()].map((key) => [toFileKey(key), key]));
  const excused = new Set<string>();

  for (const [written, entry] of table.entries) {
    const below = joinPath(path, written);
    const key = byFileKey.get(written);
    if (key !== undefined) {
      children.set(key, place(entry.node, known.get(key), below, faults));
    } else if (shape.kind === 'table' && shape.others === undefined) {
      const meant = didYouMean(
        written,
        [...byFileKey.keys()].filter((name) => !table.entries.has(name)),
      );
      const meantKey = meant === undefined ? undefined : byFileKey.get(meant);
      if (meantKey !== undefined) excused.add(meantKey);
      faults.push({ ...at(entry), path: below, ...unknownKey(written, meant, [...byFileKey.keys()]) });
    } else {
      const schema =
        shape.kind === 'table' ? shape.others : shape.kind === 'record' ? shape.values : undefined;
      children.set(written, place(entry.node, schema, below, faults));
    }
  }
  const value = Object.fromEntries([...children].map(([key, child]) => [key, child.value]));
  return { ...at(table), path, children, value, excused };
}

function unknownKey(
  written: string,
  meant: string | undefined,
  keys: readonly string[],
): { message: string; allowed: string } {
  const allowed = keys.length === 0 ? 'no key at all' : `the keys ${keys.join(', ')}`;
  if (meant === undefined) return { message: 'unknown key', allowed };
  const sameWord = toFileKey(written) === meant;
  const message = sameWord
    ? `unknown key: keys are written in lower case with _ between words, here ${meant}`
    : `unknown key; did you mean ${meant}?`;
  return { message, allowed };
}

/** `a.b`, with quotes where TOML wants them. */
export function joinPath(path: string, key: string): string {
  const written = /^[\w-]+$/.test(key) ? key : JSON.stringify(key);
  return path === '' ? written : `${path}.${written}`;
}
