/** A chip at register level, as one call of the bus sees it. */
export interface SimulatedChip {
  read(register: number, length: number): Uint8Array;
  write(register: number, bytes: Uint8Array): void;
}

/** A chip of byte registers that count up by themselves (Bosch, Analog Devices). */
export function byteRegisters(
  at: (register: number) => number,
  length: number,
  register: number,
): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => at((register + i) & 0xff) & 0xff);
}

/** A chip of 16-bit registers, high byte first; reading on repeats the register (Texas Instruments). */
export function wordChip(
  read: (register: number) => number,
  write: (register: number, word: number) => void,
): SimulatedChip {
  return {
    read(register, length) {
      const word = read(register) & 0xffff;
      return Uint8Array.from({ length }, (_, i) => (i % 2 === 0 ? word >> 8 : word & 0xff));
    },
    write(register, bytes) {
      if (bytes.length !== 2) return; // such a chip takes nothing but whole words
      write(register, (bytes[0]! << 8) | bytes[1]!);
    },
  };
}
