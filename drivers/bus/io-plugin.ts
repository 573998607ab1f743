import { EventEmitter } from 'node:events';
import type { GpioInput } from './gpio.ts';
import type { I2cBus } from './i2c.ts';

/** What johnny-five asks of the machine it runs on, as far as inputs and I2C go. */
export interface IoPlugin extends EventEmitter {
  readonly name: string;
  readonly isReady: boolean;
  readonly pins: readonly { readonly supportedModes: readonly number[]; readonly analogChannel: number }[];
  pinMode(pin: number, mode: number): void;
  digitalRead(pin: number, callback: (value: 0 | 1) => void): void;
  i2cConfig(options?: unknown): void;
  i2cWrite(address: number, first: number | readonly number[], rest?: number | readonly number[]): void;
  i2cWriteReg(address: number, register: number, value: number): void;
  i2cRead(address: number, register: number, length: number, callback: (bytes: number[]) => void): void;
  i2cReadOnce(address: number, register: number, length: number, callback: (bytes: number[]) => void): void;
  i2cStop(options: number | { address: number }): void;
  setSamplingInterval(ms: number): void;
  /** Ends all continuous reading. Bus and lines stay open: they belong to who opened them. */
  stop(): void;
}

export interface IoPluginOptions {
  readonly name: string;
  readonly i2c: I2cBus;
  /** Input lines; a line's place in the list is its pin number. */
  readonly lines: readonly GpioInput[];
  /** johnny-five's calls have no way to report an error; it comes here. */
  readonly onError: (error: Error) => void;
}

const modes = { INPUT: 0, OUTPUT: 1, ANALOG: 2, PWM: 3, SERVO: 4, I2C: 6 } as const;

/**
 * johnny-five on buses and lines of our own. Inputs and I2C only: a gateway watches machines and moves nothing.
 * `connect` and `ready` come asynchronously, since johnny-five listens for them only after the plugin is made.
 */
export function createIoPlugin({ name, i2c, lines, onError }: IoPluginOptions): IoPlugin {
  const stops = new Map<number, Set<() => void>>();
  let ready = false;
  let interval = 100;

  const report = (work: Promise<unknown>): void => {
    work.catch((error: unknown) => onError(error instanceof Error ? error : new Error(String(error))));
  };
  const onStop = (address: number, stop: () => void): void => {
    const known = stops.get(address) ?? new Set();
    stops.set(address, known.add(stop));
  };
  const refuse = (what: string) => (): never => {
    throw new Error(
      `${name}: ${what} is not possible here, only digital inputs and I2C. Use a microcontroller with Firmata for it.`,
    );
  };
  const edges = new Set<() => void>();

  const plugin = Object.assign(new EventEmitter(), {
    name,
    MODES: modes,
    HIGH: 1,
    LOW: 0,
    pins: lines.map(() => ({ supportedModes: [modes.INPUT], analogChannel: 127 })),
    analogPins: [] as number[],
    transport: null,
    normalize: (pin: number) => pin,
    pinMode(pin: number, mode: number): void {
      if (!lines[pin]) throw new Error(`${name}: there is no pin ${pin}, only 0 to ${lines.length - 1}.`);
      if (mode !== modes.INPUT) refuse('another mode than input')();
    },
    digitalRead(pin: number, callback: (value: 0 | 1) => void): void {
      const line = lines[pin];
      if (!line) throw new Error(`${name}: there is no pin ${pin}, only 0 to ${lines.length - 1}.`);
      edges.add(line.onEdge((value, error) => (error ? onError(error) : callback(value))));
      report(line.value().then(callback));
    },
    // To an input it means its pull-up resistor, which sysfs cannot switch; and every pin here is an input.
    digitalWrite(): void {},
    analogRead: refuse('reading an analog pin'),
    analogWrite: refuse('writing to an analog pin'),
    pwmWrite: refuse('pulse width modulation'),
    servoWrite: refuse('moving a servo'),
    i2cConfig(): void {},
    i2cWrite(
      address: number,
      first: number | readonly number[],
      rest: number | readonly number[] = [],
    ): void {
      const [register, ...bytes] = [first, rest].flat();
      if (register === undefined || bytes.length === 0)
        throw new Error(`${name}: an I2C command without data is not possible here.`);
      report(i2c.writeRegister(address, register, Uint8Array.from(bytes)));
    },
    i2cWriteReg(address: number, register: number, value: number): void {
      report(i2c.writeRegister(address, register, Uint8Array.of(value)));
    },
    i2cReadOnce(
      address: number,
      register: number,
      length: number,
      callback: (bytes: number[]) => void,
    ): void {
      report(i2c.readRegister(address, register, length).then((bytes) => callback([...bytes])));
    },
    i2cRead(address: number, register: number, length: number, callback: (bytes: number[]) => void): void {
      let stopped = false;
      let timer: NodeJS.Timeout | undefined;
      onStop(address, () => {
        stopped = true;
        clearTimeout(timer);
      });
      // The next read begins after this one has ended, so a slow bus is never piled up on.
      const round = async (): Promise<void> => {
        try {
          const bytes = await i2c.readRegister(address, register, length);
          if (!stopped) callback([...bytes]);
        } finally {
          if (!stopped) timer = setTimeout(() => report(round()), interval);
        }
      };
      report(round());
    },
    i2cStop(options: number | { address: number }): void {
      const address = typeof options === 'number' ? options : options.address;
      for (const stop of stops.get(address) ?? []) stop();
      stops.delete(address);
    },
    setSamplingInterval(ms: number): void {
      interval = Math.min(65_535, Math.max(1, ms));
    },
    stop(): void {
      for (const address of [...stops.keys()]) plugin.i2cStop(address);
      for (const end of edges) end();
      edges.clear();
    },
  });
  Object.defineProperty(plugin, 'isReady', { get: () => ready });
  setImmediate(() => {
    plugin.emit('connect');
    ready = true;
    plugin.emit('ready');
  });
  return plugin as typeof plugin & { readonly isReady: boolean };
}
