// What is used of the optional packages, declared here so that the type check passes where they are absent.

declare module 'i2c-bus' {
  export interface PromisifiedBus {
    readI2cBlock(
      address: number,
      register: number,
      length: number,
      buffer: Uint8Array,
    ): Promise<{ bytesRead: number; buffer: Uint8Array }>;
    writeI2cBlock(
      address: number,
      register: number,
      length: number,
      buffer: Uint8Array,
    ): Promise<{ bytesWritten: number; buffer: Uint8Array }>;
    readWord(address: number, register: number): Promise<number>;
    writeWord(address: number, register: number, word: number): Promise<void>;
    i2cRead(address: number, length: number, buffer: Uint8Array): Promise<{ bytesRead: number }>;
    i2cWrite(address: number, length: number, buffer: Uint8Array): Promise<{ bytesWritten: number }>;
    close(): Promise<void>;
  }
  export function openPromisified(bus: number): Promise<PromisifiedBus>;
}

declare module 'onoff' {
  export interface GpioOptions {
    activeLow?: boolean;
    debounceTimeout?: number;
  }
  export class Gpio {
    constructor(line: number, direction: 'in', edge: 'both', options?: GpioOptions);
    read(): Promise<0 | 1>;
    watch(callback: (error: Error | null | undefined, value: 0 | 1) => void): void;
    unwatchAll(): void;
    unexport(): void;
  }
}

declare module 'johnny-five' {
  export interface BoardOptions {
    /** An IO plugin, or a transport of Firmata wrapped in one. */
    io?: object;
    /** Serial port of a microcontroller that runs Firmata. */
    port?: string;
    repl: false;
    debug: false;
    sigint: false;
    /** Longest time from connection to readiness, ms. */
    timeout?: number;
  }
  export class Board {
    constructor(options: BoardOptions);
    readonly io: object;
    readonly isReady: boolean;
    on(event: string, callback: (data: unknown) => void): this;
    once(event: string, callback: (data: unknown) => void): this;
  }
}
