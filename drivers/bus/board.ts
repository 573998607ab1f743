import type { Board } from 'johnny-five';
import { busError, hex, loadPart, messageOf } from './errors.ts';
import { guardI2cBus, type I2cBus } from './i2c.ts';
import type { IoPlugin } from './io-plugin.ts';

/** Where a johnny-five board gets its hardware from: an IO plugin, or a microcontroller with Firmata on a serial port. */
export type BoardSource = { readonly io: IoPlugin | object } | { readonly port: string };

const readyMs = 10_000;

/** Opens a johnny-five board (optional package) and waits until it is ready, 10 s at most. */
export async function openBoard(source: BoardSource): Promise<Board> {
  const five = await loadPart('johnny-five', 'A johnny-five board', async () => {
    const loaded = await import('johnny-five');
    return 'Board' in loaded ? loaded : (loaded as { default: typeof import('johnny-five') }).default;
  });
  const where = 'port' in source ? `Firmata on ${source.port}` : 'johnny-five board';
  return new Promise((resolve, reject) => {
    // Neither its prompt, nor its log, nor its own way of ending the process is wanted in a daemon.
    const board = new five.Board({ ...source, repl: false, debug: false, sigint: false, timeout: readyMs });
    const fail = (why: string): void => {
      clearTimeout(timer);
      reject(
        busError(
          'EBADDEVICE',
          `${where}: ${why}. Is the port right, and StandardFirmata on the microcontroller?`,
        ),
      );
    };
    const timer = setTimeout(() => fail(`not ready within ${readyMs} ms`), readyMs);
    board.once('ready', () => {
      clearTimeout(timer);
      resolve(board);
    });
    board.on('error', (error) => fail(messageOf(error)));
  });
}

/** What is used of the Firmata client: it answers a read by an event, and a device that is absent not at all. */
export interface FirmataIo {
  i2cConfig(options?: { delay: number }): void;
  i2cWrite(address: number, register: number, bytes: number[]): void;
  i2cReadOnce(address: number, register: number, length: number, callback: (bytes: number[]) => void): void;
  removeListener(event: string, callback: (bytes: number[]) => void): unknown;
}

/** The I2C bus of a microcontroller that runs Firmata, so that every driver here works at its far end. */
export function firmataI2cBus(io: FirmataIo, name: string, replyMs = 200): I2cBus {
  io.i2cConfig({ delay: 0 });
  const read = (address: number, register: number, length: number): Promise<Uint8Array> =>
    new Promise((resolve, reject) => {
      const take = (bytes: number[]): void => {
        clearTimeout(timer);
        resolve(Uint8Array.from(bytes));
      };
      const timer = setTimeout(() => {
        io.removeListener(`I2C-reply-${address}-${register}`, take);
        reject(busError('ENXIO', `no reply from ${hex(address)} within ${replyMs} ms`));
      }, replyMs);
      io.i2cReadOnce(address, register, length, take);
    });
  const raw: I2cBus = {
    readRegister: read,
    writeRegister: async (address, register, bytes) => io.i2cWrite(address, register, [...bytes]),
    async readWord(address, register) {
      const [high = 0, low = 0] = await read(address, register, 2);
      return (high << 8) | low;
    },
    writeWord: async (address, register, value) => io.i2cWrite(address, register, [value >> 8, value & 0xff]),
    close: async () => {},
  };
  return guardI2cBus(raw, { name, timeLimitMs: replyMs + 300 });
}
