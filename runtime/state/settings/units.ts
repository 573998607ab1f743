import { z } from 'zod';

/** A host and the port on it; IPv6 addresses without their brackets. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** A unit's letters and what one of it is in the base unit, the biggest first. */
type Units = readonly (readonly [name: string, size: number])[];

const DURATIONS: Units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
];

const BYTES: Units = [
  ['TiB', 2 ** 40],
  ['TB', 1e12],
  ['GiB', 2 ** 30],
  ['GB', 1e9],
  ['MiB', 2 ** 20],
  ['MB', 1e6],
  ['KiB', 2 ** 10],
  ['kB', 1e3],
  ['B', 1],
];

/** Limits in the same words as the values, both included. */
export interface Limits {
  readonly least?: string | undefined;
  readonly most?: string | undefined;
}

/** `"250ms"`, `"1s"`, `"5m"`, `"2h"`, `"30d"` as milliseconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  return parseAmount(text, DURATIONS);
}

/** Milliseconds in the biggest unit that keeps them whole, as `parseDuration` reads them. */
export function formatDuration(ms: number): string {
  return formatAmount(ms, DURATIONS);
}

/** `"512B"`, `"64kB"`, `"2GB"`, `"512MiB"` as bytes; undefined for anything else. */
export function parseByteSize(text: string): number | undefined {
  return parseAmount(text, BYTES);
}

/** Bytes in the biggest unit that keeps them whole, as `parseByteSize` reads them. */
export function formatByteSize(bytes: number): string {
  return formatAmount(bytes, BYTES);
}

function parseAmount(text: string, units: Units): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)([A-Za-z]+)$/.exec(text);
  const size = units.find(([name]) => name === match?.[2])?.[1];
  if (match === null || size === undefined) return undefined;
  const amount = Number((Number(match[1]) * size).toFixed(6));
  return Number.isSafeInteger(amount) ? amount : undefined;
}

function formatAmount(amount: number, units: Units): string {
  const fitting = units.find(([, size]) => amount >= size && amount % size === 0);
  const [name, size] = fitting ?? units[units.length - 1] ?? ['', 1];
  return `${amount / size}${name}`;
}

/** `"host:1883"` or `"[::1]:1883"`; with a default port, `"host"` alone too. Undefined for anything else. */
export function parseHostPort(text: string, defaultPort?: number): HostPort | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:[\]/@]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host === undefined || port === undefined || port > 65_535) return undefined;
  return { host, port };
}

/** `host:port` as `parseHostPort` reads it. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A length of time, in the file as `"250ms"`, for the program in milliseconds. */
export function duration(limits: Limits = {}): z.ZodType<number, string> {
  return amount(limits, {
    what: 'a length of time such as "250ms", "1s", "5m", "2h" or "30d"',
    parse: parseDuration,
    format: formatDuration,
  });
}

/** An amount of memory or disk, in the file as `"2GB"`, for the program in bytes. */
export function byteSize(limits: Limits = {}): z.ZodType<number, string> {
  return amount(limits, {
    what: 'an amount of bytes such as "64kB", "512MiB" or "2GB"',
    parse: parseByteSize,
    format: formatByteSize,
  });
}

interface Amount {
  readonly what: string;
  readonly parse: (text: string) => number | undefined;
  readonly format: (value: number) => string;
}

function amount({ least, most }: Limits, { what, parse, format }: Amount): z.ZodType<number, string> {
  const low = limit(least, parse, 0);
  const high = limit(most, parse, Number.MAX_SAFE_INTEGER);
  const range = [
    least === undefined ? '' : `at least "${least}"`,
    most === undefined ? '' : `at most "${most}"`,
  ];
  const allowed = [what, ...range].filter((words) => words !== '').join(', ');
  return z
    .string()
    .transform((text, context) => {
      const value = parse(text);
      if (value === undefined) return refuse(context, `${JSON.stringify(text)} is not ${what}`);
      if (value < low) return refuse(context, `${JSON.stringify(text)} is too little`);
      if (value > high) return refuse(context, `${JSON.stringify(text)} is too much`);
      return value;
    })
    .meta({ allowed, format });
}

function limit(text: string | undefined, parse: Amount['parse'], otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = parse(text);
  if (value === undefined) throw new Error(`a schema's limit ${JSON.stringify(text)} has no such unit`);
  return value;
}

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}

/** What `hostPort` takes. */
export interface HostPortOptions {
  /** The port where the file names none. */
  readonly defaultPort?: number;
  /** Takes port 0, which lets the operating system choose: for listening only. */
  readonly anyPort?: boolean;
}

/** An address, in the file as `"host:1883"` or `"[::1]:1883"`. */
export function hostPort(options: HostPortOptions = {}): z.ZodType<HostPort, string> {
  const { defaultPort, anyPort = false } = options;
  const alone = defaultPort === undefined ? '' : `, or the host alone for port ${defaultPort}`;
  const zero = anyPort ? ', port 0 for any that is free' : '';
  return z
    .string()
    .transform((text, context) => {
      const address = parseHostPort(text, defaultPort);
      if (address === undefined) return refuse(context, `${JSON.stringify(text)} is not a host and a port`);
      if (address.port === 0 && !anyPort) return refuse(context, 'port 0 is not possible here');
      return address;
    })
    .meta({
      allowed: `a host and a port such as "plant.example:8443" or "[::1]:8443"${alone}${zero}`,
      format: formatHostPort,
    });
}

/** An address with one of these protocols, each with its colon: `url(['mqtt:', 'mqtts:'])`. */
export function url(protocols: readonly string[]): z.ZodType<string, string> {
  const starts = protocols.map((protocol) => `${protocol}//`);
  return z
    .string()
    .superRefine((text, context) => {
      const parsed = URL.canParse(text) ? new URL(text) : undefined;
      const known = parsed !== undefined && protocols.includes(parsed.protocol);
      if (!known || parsed.hostname === '') {
        const message = `${JSON.stringify(text)} is not an address of this kind`;
        // What a schema checks after this may count on an address.
        context.addIssue({ code: 'custom', message, continue: false });
      }
    })
    .meta({ allowed: `an address that begins with ${starts.join(' or ')}` });
}

/** The path of a file or directory, as written. */
export function filePath(): z.ZodType<string, string> {
  return z
    .string()
    .regex(/^[^\0]+$/, 'a path is not empty and holds no zero byte')
    .meta({ allowed: 'a path' });
}

/** A short name for a member, gateway, machine or stream. */
export function name(): z.ZodType<string, string> {
  return z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/)
    .meta({ allowed: 'a name of 1 to 64 of a-z, 0-9, ".", "_" and "-" that begins with a letter or digit' });
}
