/** What a caller may tell apart: everything else is for people to read. */
export type BusErrorCode =
  | 'ENXIO' // nobody answered at the address
  | 'EBUSSTUCK' // an earlier call has not come back
  | 'EBUSTIMEOUT' // this call did not come back in time
  | 'EBUSQUEUE' // too many calls are waiting
  | 'EBUSCLOSED'
  | 'EBUSIO' // the bus reported an error
  | 'EMISSINGPART' // an optional package is absent
  | 'EBADDEVICE' // a device answered, but not as it should
  | 'EBADREADING'; // a value no working device reports

/** An error of a bus or device, with a code. */
export interface BusError extends Error {
  readonly code: BusErrorCode;
}

/** Makes a `BusError`; `cause` keeps what the layer below said. */
export function busError(code: BusErrorCode, message: string, cause?: unknown): BusError {
  return Object.assign(new Error(message, cause === undefined ? undefined : { cause }), { code });
}

/** `0x76` */
export function hex(value: number, digits = 2): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Loads an optional package, or says which part is missing and how to get it. */
export async function loadPart<T>(name: string, purpose: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    throw busError(
      'EMISSINGPART',
      `${purpose} needs the optional package ${name}, which is absent or whose native part is not built ` +
        `(${messageOf(error).split('\n')[0]}). Install it with "npm install ${name}" (needs python3, make and g++), ` +
        `or build it with "npm rebuild ${name}".`,
      error,
    );
  }
}
