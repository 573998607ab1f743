/** What goes over the control socket: one JSON object a line, a request and its answer. */

export interface ControlRequest {
  readonly command: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

export type ControlResponse =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: string };

/** A line longer than this is refused, in both directions. */
export const MAX_LINE = 4 * 1024 * 1024;

/** @throws Error when the line is no request. */
export function parseRequest(line: string): ControlRequest {
  const value: unknown = JSON.parse(line);
  if (
    typeof value !== 'object' ||
    value === null ||
    !('command' in value) ||
    typeof value.command !== 'string'
  ) {
    throw new Error('a request is {"command": name, "arguments": {...}}');
  }
  const given = 'arguments' in value ? value.arguments : {};
  if (typeof given !== 'object' || given === null) throw new Error('arguments are an object');
  return { command: value.command, arguments: { ...given } };
}

/** @throws Error when the line is no response. */
export function parseResponse(line: string): ControlResponse {
  const value: unknown = JSON.parse(line);
  if (typeof value === 'object' && value !== null && 'ok' in value) {
    if (value.ok === true && 'value' in value) return { ok: true, value: value.value };
    if (value.ok === false && 'error' in value) return { ok: false, error: String(value.error) };
  }
  throw new Error('the daemon’s answer is not understood');
}
