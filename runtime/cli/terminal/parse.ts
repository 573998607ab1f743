import { parseArgs } from 'node:util';
import { didYouMean } from '../../state/settings/suggest.ts';
import { formatDuration, parseDuration } from '../../state/settings/units.ts';
import type { Args, RunnableCommand } from './command.ts';
import type { Flag, Option, Options } from './options.ts';

/** Options of every command. */
export const COMMON = {
  help: { kind: 'flag', short: 'h', about: 'show this help' },
  json: { kind: 'flag', about: 'print the result as one JSON object on the last line' },
} as const satisfies Options;

/** What was typed, or everything that is wrong with it. */
export type Parsed =
  | { readonly kind: 'args'; readonly args: Args<Options> }
  | { readonly kind: 'help' }
  | { readonly kind: 'faults'; readonly faults: readonly string[] };

interface Typed {
  readonly rawName: string;
  readonly value: string | undefined;
  readonly inline: boolean;
}

/** Judges a command line (without the words of the command's name) by the command's specification. */
export function parseCommandLine(command: RunnableCommand, argv: readonly string[]): Parsed {
  const specs: Options = { ...command.options, ...COMMON };
  const { typed, positionals } = tokenise(specs, argv);
  if (typed.has('help')) return { kind: 'help' };

  const faults: string[] = [];
  for (const [name, given] of typed) {
    if (specs[name] === undefined) faults.push(unknownOption(given[0]?.rawName ?? name, specs));
  }
  const options: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(specs)) {
    options[name] = judgeOption(name, spec, typed.get(name) ?? [], faults);
  }
  faults.push(...positionalFaults(command, positionals));
  if (faults.length > 0) return { kind: 'faults', faults };
  return {
    kind: 'args',
    args: { options: options as Args<Options>['options'], positionals, json: options.json === true },
  };
}

function tokenise(
  specs: Options,
  argv: readonly string[],
): { readonly typed: Map<string, Typed[]>; readonly positionals: string[] } {
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, spec]) => [
      name,
      {
        type: spec.kind === 'flag' ? ('boolean' as const) : ('string' as const),
        ...(spec.short === undefined ? {} : { short: spec.short }),
      },
    ]),
  );
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const typed = new Map<string, Typed[]>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const { rawName, value, inlineValue } = token;
    const given = typed.get(token.name) ?? [];
    given.push({ rawName, value, inline: inlineValue === true });
    typed.set(token.name, given);
  }
  return { typed, positionals };
}

function unknownOption(rawName: string, specs: Options): string {
  const meant = didYouMean(rawName.replace(/^-+/, ''), Object.keys(specs));
  return `there is no option ${rawName}${meant === undefined ? '' : `; did you mean --${meant}?`}`;
}

function judgeOption(name: string, spec: Option, given: readonly Typed[], faults: string[]): unknown {
  if (spec.kind === 'flag') {
    if (given.some(({ inline }) => inline)) faults.push(`--${name} takes no value`);
    return given.length > 0;
  }
  const values = given.flatMap((typed) => {
    const fault = shapeFault(name, spec, typed);
    if (fault === undefined) return [judge(name, spec, typed.value ?? '', faults)];
    faults.push(fault);
    return [];
  });
  const many = 'many' in spec && spec.many === true;
  if (!many && given.length > 1) faults.push(`--${name} is given ${given.length} times; once is enough`);
  if (given.length === 0 && spec.required === true)
    faults.push(`--${name} ${spec.value} is needed: ${spec.about}`);
  if (many) return values;
  return given.length === 0 ? spec.default : values[0];
}

function shapeFault(name: string, spec: Exclude<Option, Flag>, { value, inline }: Typed): string | undefined {
  if (value === undefined || (value === '' && spec.kind !== 'text'))
    return `--${name} needs a value: ${spec.value}`;
  const isOption = !inline && /^-./.test(value) && !/^-[\d.]/.test(value);
  return isOption
    ? `--${name} needs a value (${spec.value}); for one that begins with -, write --${name}=${value}`
    : undefined;
}

function judge(name: string, spec: Exclude<Option, Flag>, text: string, faults: string[]): string | number {
  if (spec.kind === 'text') {
    const { choices } = spec;
    if (choices !== undefined && !choices.includes(text)) {
      const meant = didYouMean(text, choices);
      const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
      faults.push(`--${name} is one of ${choices.join(', ')}, not ${text}${hint}`);
    }
    return text;
  }
  if (spec.kind === 'duration') {
    const ms = parseDuration(text);
    if (ms === undefined) faults.push(`--${name} is a length of time such as 250ms, 1s or 5m, not ${text}`);
    return ms ?? 0;
  }
  const { whole, least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY } = spec;
  const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  const fits = Number.isFinite(number) && number >= least && number <= most;
  if (!fits || (whole === true && !Number.isSafeInteger(number))) {
    faults.push(`--${name} is ${numberWords(spec)}, not ${text}`);
  }
  return number;
}

function numberWords({ whole, least, most }: { whole?: true; least?: number; most?: number }): string {
  const noun = whole === true ? 'a whole number' : 'a number';
  if (least !== undefined && most !== undefined) return `${noun} from ${least} to ${most}`;
  if (least !== undefined) return `${noun} of at least ${least}`;
  return most === undefined ? noun : `${noun} of at most ${most}`;
}

function positionalFaults(command: RunnableCommand, positionals: readonly string[]): string[] {
  const wanted = command.arguments ?? [];
  const missing = wanted.slice(positionals.length).filter(({ optional }) => optional !== true);
  const faults = missing.map(({ name, about }) => `${name} is needed: ${about}`);
  const open = wanted.at(-1)?.many === true;
  if (!open && positionals.length > wanted.length) {
    const surplus = positionals.slice(wanted.length).join(' ');
    const takes = wanted.length === 0 ? 'no arguments' : wanted.map(({ name }) => name).join(' ');
    faults.push(`${surplus} is too much: ${command.name} takes ${takes}`);
  }
  return faults;
}

/** A default as it would be typed. */
export function shownDefault(spec: Option): string | undefined {
  if (spec.kind === 'flag' || spec.default === undefined) return undefined;
  return spec.kind === 'duration' ? formatDuration(spec.default) : String(spec.default);
}
