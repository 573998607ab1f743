import { access, constants } from 'node:fs/promises';
import { busError, hex, loadPart, messageOf } from './errors.ts';
import { createGuard, type GuardOptions } from './guard.ts';

/** Longest block of one SMBus call. */
export const maxBlock = 32;

/** Registers of devices on one I2C bus. Calls are served one at a time, in order, each within a time limit. */
export interface I2cBus {
  /** Reads `length` (1 to 32) consecutive byte registers: an SMBus I2C block read. */
  readRegister(address: number, register: number, length: number): Promise<Uint8Array>;
  /** Writes 1 to 32 consecutive byte registers: an SMBus I2C block write. */
  writeRegister(address: number, register: number, bytes: Uint8Array): Promise<void>;
  /** Reads a 16-bit register that the device sends high byte first (TI, most ADCs): an SMBus word read, swapped. */
  readWord(address: number, register: number): Promise<number>;
  /** Writes a 16-bit register, high byte first: an SMBus word write, swapped. */
  writeWord(address: number, register: number, value: number): Promise<void>;
  close(): Promise<void>;
}

/** Puts a queue of one call in flight, a bound on those waiting, a time limit a call and argument checks before `raw`. */
export function guardI2cBus(raw: I2cBus, options: GuardOptions): I2cBus {
  const guard = createGuard(options);
  const call = async <T>(
    what: string,
    address: number,
    register: number,
    run: () => Promise<T>,
  ): Promise<T> => {
    checkByte('address', address, 0x03, 0x77);
    checkByte('register', register, 0, 0xff);
    const where = `${what} of register ${hex(register)} at ${hex(address)}`;
    try {
      return await guard.run(where, run);
    } catch (error) {
      throw explain(error, `${options.name}: ${where}`);
    }
  };
  return {
    async readRegister(address, register, length) {
      checkByte('length', length, 1, maxBlock);
      const bytes = await call('reading', address, register, () =>
        raw.readRegister(address, register, length),
      );
      if (bytes.length !== length) {
        throw busError(
          'EBUSIO',
          `${options.name}: ${hex(address)} sent ${bytes.length} bytes instead of ${length}.`,
        );
      }
      return bytes;
    },
    async writeRegister(address, register, bytes) {
      checkByte('length', bytes.length, 1, maxBlock);
      await call('writing', address, register, () => raw.writeRegister(address, register, bytes));
    },
    readWord: (address, register) =>
      call('reading', address, register, () => raw.readWord(address, register)),
    async writeWord(address, register, value) {
      checkByte('word', value, 0, 0xffff);
      await call('writing', address, register, () => raw.writeWord(address, register, value));
    },
    close: () => guard.close(() => raw.close()),
  };
}

function checkByte(what: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new RangeError(`I2C ${what} ${value} is not a whole number from ${low} to ${high}`);
  }
}

/** Says in words what the kernel's codes mean. */
function explain(error: unknown, where: string): Error {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code.startsWith('EBUS')) return error as Error;
  if (code === 'ENXIO' || code === 'EREMOTEIO' || code === 'ENODEV') {
    return busError(
      'ENXIO',
      `${where} failed: nobody answered (${code}). Check the address, the wiring and the power of the device.`,
      error,
    );
  }
  return busError('EBUSIO', `${where} failed: ${messageOf(error)}`, error);
}

const purpose = 'Access to /dev/i2c-*';

/** Opens `/dev/i2c-<bus>` through the optional package i2c-bus. Errors name the missing part or the file. */
export async function openI2cBus(bus: number, options: Partial<GuardOptions> = {}): Promise<I2cBus> {
  const name = options.name ?? `/dev/i2c-${bus}`;
  const { openPromisified } = await loadPart('i2c-bus', purpose, async () => {
    const loaded = await import('i2c-bus');
    // A CommonJS package: under some loaders its exports are only on `default`.
    return 'openPromisified' in loaded ? loaded : (loaded as { default: typeof import('i2c-bus') }).default;
  });
  // i2c-bus opens the file with the first call to a device; what is missing is better said now.
  await access(`/dev/i2c-${bus}`, constants.R_OK | constants.W_OK).catch((error: unknown) => {
    throw busError(
      'EBUSIO',
      `${name} cannot be opened: ${messageOf(error)}. Is I2C switched on (dtparam=i2c_arm=on, module i2c-dev), ` +
        'and is this user in the group i2c?',
      error,
    );
  });
  const device = await openPromisified(bus);
  const swap = (word: number): number => ((word & 0xff) << 8) | (word >> 8);
  const raw: I2cBus = {
    async readRegister(address, register, length) {
      const buffer = Buffer.alloc(length);
      const { bytesRead } = await device.readI2cBlock(address, register, length, buffer);
      return new Uint8Array(buffer.subarray(0, bytesRead));
    },
    async writeRegister(address, register, bytes) {
      await device.writeI2cBlock(address, register, bytes.length, Buffer.from(bytes));
    },
    readWord: async (address, register) => swap(await device.readWord(address, register)),
    writeWord: (address, register, value) => device.writeWord(address, register, swap(value)),
    close: () => device.close(),
  };
  return guardI2cBus(raw, { ...options, name });
}
