import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { busError, loadPart, messageOf } from './errors.ts';

/** A GPIO line by the label of its chip and its offset there: numbers of sysfs change with kernel and board. */
export interface GpioLine {
  readonly chip: string;
  readonly offset: number;
  /** The line is low when the contact is closed. */
  readonly activeLow?: boolean | undefined;
  /** Edges closer together than this count as one. */
  readonly debounceMs?: number | undefined;
}

/** An open input line. `onEdge` returns how to stop; the callback gets the new value. */
export interface GpioInput {
  value(): Promise<0 | 1>;
  onEdge(callback: (value: 0 | 1, error?: Error) => void): () => void;
  close(): Promise<void>;
}

/** A GPIO chip as sysfs shows it. */
export interface GpioChip {
  readonly label: string;
  readonly base: number;
  readonly lines: number;
}

const sysfs = '/sys/class/gpio';

/** The GPIO chips of this machine, by base. `directory` is `/sys/class/gpio`, or a copy of it in a test. */
export async function listGpioChips(directory = sysfs): Promise<GpioChip[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    throw busError(
      'EBUSIO',
      `GPIO: ${directory} cannot be read (${messageOf(error)}). The kernel needs CONFIG_GPIO_SYSFS.`,
      error,
    );
  });
  const chips = names
    .filter((name) => /^gpiochip\d+$/.test(name))
    .map(async (name): Promise<GpioChip> => {
      const text = async (file: string) => (await readFile(join(directory, name, file), 'utf8')).trim();
      const [label, base, lines] = await Promise.all([text('label'), text('base'), text('ngpio')]);
      return { label, base: Number.parseInt(base, 10), lines: Number.parseInt(lines, 10) };
    });
  return (await Promise.all(chips)).sort((a, b) => a.base - b.base);
}

/** The number sysfs gives to `line`. Errors list the chips there are. */
export async function resolveGpioLine(line: GpioLine, directory = sysfs): Promise<number> {
  const chips = await listGpioChips(directory);
  const found = chips.filter((chip) => chip.label === line.chip);
  const [chip] = found;
  if (chip === undefined || found.length > 1) {
    const have = chips.map((c) => `"${c.label}" (${c.lines} lines)`).join(', ') || 'none';
    const what = chip === undefined ? 'no chip has' : `${found.length} chips have`;
    throw busError('EBUSIO', `GPIO: ${what} the label "${line.chip}". Chips here: ${have}.`);
  }
  if (!Number.isInteger(line.offset) || line.offset < 0 || line.offset >= chip.lines) {
    throw busError(
      'EBUSIO',
      `GPIO: chip "${line.chip}" has lines 0 to ${chip.lines - 1}, not ${line.offset}.`,
    );
  }
  return chip.base + line.offset;
}

/** Opens an input line through the optional package onoff. */
export async function openGpioInput(line: GpioLine): Promise<GpioInput> {
  const { Gpio } = await loadPart('onoff', 'Access to GPIO lines', async () => {
    const loaded = await import('onoff');
    return 'Gpio' in loaded ? loaded : (loaded as { default: typeof import('onoff') }).default;
  });
  const number = await resolveGpioLine(line);
  const where = `GPIO line ${line.offset} of "${line.chip}"`;
  const open = () => {
    try {
      return new Gpio(number, 'in', 'both', {
        activeLow: line.activeLow ?? false,
        debounceTimeout: line.debounceMs ?? 0,
      });
    } catch (error) {
      throw busError(
        'EBUSIO',
        `${where} cannot be opened: ${messageOf(error)}. Is it in use, and is this user in the group gpio?`,
        error,
      );
    }
  };
  const gpio = open();
  const listeners = new Set<(value: 0 | 1, error?: Error) => void>();
  gpio.watch((error, value) => {
    for (const listener of [...listeners]) listener(value, error ?? undefined);
  });
  return {
    value: () => gpio.read(),
    onEdge(callback) {
      listeners.add(callback);
      return () => listeners.delete(callback);
    },
    async close() {
      listeners.clear();
      gpio.unwatchAll();
      gpio.unexport();
    },
  };
}
