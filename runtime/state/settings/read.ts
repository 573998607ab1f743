import { isUtf8 } from 'node:buffer';
import { readFile, stat } from 'node:fs/promises';
import type { z } from 'zod';
import { convert } from './convert.ts';
import { faultsOf, MARK } from './judge.ts';
import { parseSource } from './source.ts';

/** One thing that is wrong with a file of settings. */
export interface Fault {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** As written in the file, `machine[2].stream[0].interval`; empty for the file as a whole. */
  readonly path: string;
  /** What is wrong. */
  readonly message: string;
  /** What may stand there; empty where nothing can be said. */
  readonly allowed: string;
}

/** Settings a program may use, or everything that is wrong with the file. */
export type Judged<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly faults: readonly Fault[] };

/** Files of settings are written by hand; a bigger one is something else, unless the caller knows better. */
const MOST_BYTES = 1 << 20;

export interface ReadOptions {
  /** A longer file is refused unread; 1 MiB when absent. */
  readonly mostBytes?: number;
}

/**
 * Judges `text` (TOML 1.0) by `schema`, whose camelCase keys stand in the file in snake_case. Reports every
 * fault at once, in the order of the file: syntax, unknown keys, wrong types, impossible values.
 * `file` is the name that the faults carry. Nothing is thrown for bad text.
 */
export function readSettings<S extends z.ZodType>(
  text: string,
  file: string,
  schema: S,
  { mostBytes = MOST_BYTES }: ReadOptions = {},
): Judged<z.output<S>> {
  if (text.length > mostBytes) return refuseFile(file, `is longer than ${mostBytes} bytes`, 'a shorter file');
  const { tree, faults: syntax } = parseSource(text);
  const { placed, faults: conversion } = convert(tree, schema);
  const result = schema.safeParse(placed.value, { error: () => MARK });
  if (result.success && syntax.length === 0 && conversion.length === 0)
    return { ok: true, value: result.data };

  const judged = result.success
    ? []
    : faultsOf(result.error.issues, placed, { incomplete: syntax.length > 0 });
  const faults = [...syntax.map((fault) => ({ allowed: '', ...fault, path: '' })), ...conversion, ...judged]
    .map((fault) => ({ file, ...fault }))
    .sort((a, b) => a.line - b.line || a.column - b.column);
  return { ok: false, faults: withoutRepeats(faults) };
}

/** Reads and judges a file; one that cannot be read is a fault on its line 1. */
export async function readSettingsFile<S extends z.ZodType>(
  path: string,
  schema: S,
  options: ReadOptions = {},
): Promise<Judged<z.output<S>>> {
  const { mostBytes = MOST_BYTES } = options;
  let bytes: Uint8Array;
  try {
    const found = await stat(path);
    // A pipe or a device might never end.
    if (!found.isFile())
      return refuseFile(path, `is ${found.isDirectory() ? 'a directory' : 'no plain file'}`, FILE);
    if (found.size > mostBytes)
      return refuseFile(path, `is longer than ${mostBytes} bytes`, 'a shorter file');
    bytes = await readFile(path);
  } catch (error) {
    return refuseFile(path, `cannot be read: ${reasonOf(error)}`, FILE);
  }
  if (!isUtf8(bytes)) return refuseFile(path, 'is not UTF-8 text', 'a file of TOML, which is UTF-8');
  return readSettings(new TextDecoder().decode(bytes), path, schema, options);
}

const FILE = 'a file of TOML that this user may read';

function refuseFile(file: string, message: string, allowed: string): { ok: false; faults: Fault[] } {
  return {
    ok: false,
    faults: [{ file, line: 1, column: 1, path: '', message: `the file ${message}`, allowed }],
  };
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user may not read it',
  ENOTDIR: 'a part of the path is not a directory',
};

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error ? String(error.code) : '';
  return REASONS[code] ?? error.message;
}

function withoutRepeats(faults: readonly Fault[]): Fault[] {
  const seen = new Set<string>();
  return faults.filter((fault) => {
    const key = JSON.stringify([fault.line, fault.column, fault.path, fault.message]);
    return !seen.has(key) && seen.add(key);
  });
}
