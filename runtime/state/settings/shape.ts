import type { z } from 'zod';

/**
 * What this room knows of a zod schema: enough to convert keys, to find unknown ones and to say in words
 * what may stand in a place. Wrappers (optional, default, readonly, pipe, ...) are looked through.
 */
export type Shape =
  | {
      readonly kind: 'table';
      readonly keys: ReadonlyMap<string, z.ZodType>;
      readonly others: z.ZodType | undefined;
    }
  | { readonly kind: 'record'; readonly values: z.ZodType }
  | { readonly kind: 'list'; readonly items: (index: number) => z.ZodType | undefined }
  | {
      readonly kind: 'choice';
      readonly options: readonly z.ZodType[];
      readonly discriminator: string | undefined;
    }
  | { readonly kind: 'scalar' }
  | { readonly kind: 'anything' };

/** The parts of zod's definitions that are read here; which are there depends on the type. */
interface Definition {
  readonly type: string;
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly out?: z.ZodType;
  readonly getter?: () => z.ZodType;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly catchall?: z.ZodType;
  readonly element?: z.ZodType;
  readonly items?: readonly z.ZodType[];
  readonly rest?: z.ZodType | null;
  readonly options?: readonly z.ZodType[];
  readonly discriminator?: string;
  readonly valueType?: z.ZodType;
  readonly left?: z.ZodType;
  readonly right?: z.ZodType;
  readonly defaultValue?: unknown;
  readonly entries?: Readonly<Record<string, string | number>>;
  readonly values?: readonly unknown[];
}

/** zod keeps the definition under `_zod`, as its documentation for library authors says. */
export function definitionOf(schema: z.ZodType): Definition {
  return schema._zod.def as unknown as Definition;
}

const WRAPPERS = new Set([
  'optional',
  'nullable',
  'default',
  'prefault',
  'nonoptional',
  'readonly',
  'catch',
  'success',
]);

/** The schema that judges what stands in the file, without the wrappers around it. */
export function unwrap(schema: z.ZodType): z.ZodType {
  let current = schema;
  // A bound, since a lazy schema could lead back to itself.
  for (let depth = 0; depth < 50; depth++) {
    const definition = definitionOf(current);
    let next: z.ZodType | undefined;
    if (WRAPPERS.has(definition.type)) next = definition.innerType;
    else if (definition.type === 'lazy') next = definition.getter?.();
    else if (definition.type === 'pipe') next = pipeInput(definition);
    if (next === undefined) return current;
    current = next;
  }
  throw new Error('a schema of settings leads back to itself');
}

/** A pipe's input is what the file must hold, unless it is a bare function (z.preprocess). */
function pipeInput(definition: Definition): z.ZodType | undefined {
  const first = definition.in;
  return first !== undefined && definitionOf(first).type === 'transform' ? definition.out : first;
}

/** The shape of what may stand where `schema` judges. */
export function shapeOf(schema: z.ZodType): Shape {
  const inner = unwrap(schema);
  const definition = definitionOf(inner);
  switch (definition.type) {
    case 'object':
      return tableShape(definition);
    case 'record':
      return definition.valueType === undefined
        ? { kind: 'anything' }
        : { kind: 'record', values: definition.valueType };
    case 'array':
    case 'set':
      return { kind: 'list', items: () => definition.element };
    case 'tuple':
      return { kind: 'list', items: (index) => definition.items?.[index] ?? definition.rest ?? undefined };
    case 'union':
      return { kind: 'choice', options: definition.options ?? [], discriminator: definition.discriminator };
    case 'intersection':
      return intersectionShape(definition);
    case 'any':
    case 'unknown':
    case 'custom':
    case 'transform':
      return { kind: 'anything' };
    default:
      return { kind: 'scalar' };
  }
}

function tableShape(definition: Definition): Shape {
  const { catchall } = definition;
  // strictObject is a catchall of `never`
  const others = catchall !== undefined && definitionOf(catchall).type !== 'never' ? catchall : undefined;
  return { kind: 'table', keys: new Map(Object.entries(definition.shape ?? {})), others };
}

function intersectionShape(definition: Definition): Shape {
  const sides = [definition.left, definition.right].map((side) => (side ? shapeOf(side) : undefined));
  const [left, right] = sides;
  if (left?.kind !== 'table' || right?.kind !== 'table') return { kind: 'anything' };
  return { kind: 'table', keys: new Map([...left.keys, ...right.keys]), others: left.others ?? right.others };
}

/** A schema's own words, looked for through its wrappers: `.describe()` may stand before `.default()`. */
export function metaOf(schema: z.ZodType): Readonly<Record<string, unknown>> {
  let meta: Record<string, unknown> = {};
  let current: z.ZodType | undefined = schema;
  for (let depth = 0; current !== undefined && depth < 50; depth++) {
    meta = { ...current.meta(), ...meta };
    const definition: Definition = definitionOf(current);
    current = WRAPPERS.has(definition.type) ? definition.innerType : pipeOrLazy(definition);
  }
  return meta;
}

function pipeOrLazy(definition: Definition): z.ZodType | undefined {
  if (definition.type === 'lazy') return definition.getter?.();
  return definition.type === 'pipe' ? pipeInput(definition) : undefined;
}

/** What stands in for an absent key: a value the program gets, or `required`. */
export function absenceOf(schema: z.ZodType): { readonly required: boolean; readonly value: unknown } {
  let current: z.ZodType | undefined = schema;
  for (let depth = 0; current !== undefined && depth < 50; depth++) {
    const definition: Definition = definitionOf(current);
    if (definition.type === 'default' || definition.type === 'prefault') {
      return { required: false, value: definition.defaultValue };
    }
    if (definition.type === 'optional') return { required: false, value: undefined };
    current = WRAPPERS.has(definition.type) ? definition.innerType : pipeOrLazy(definition);
  }
  const accepted = schema.safeParse(undefined).success;
  return { required: !accepted, value: undefined };
}

/** `commitInterval` as it stands in a file: `commit_interval`. */
export function toFileKey(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
