/** What goes between two gateways: a request to a path, and its answer. */
import type { Http2Stream, IncomingHttpHeaders } from 'node:http2';
import type { Readable } from 'node:stream';

export interface PeerRequest {
  readonly path: string;
  readonly body: Uint8Array;
}

export interface PeerResponse {
  readonly status: number;
  readonly body: Uint8Array;
  readonly contentType?: string;
}

/** Answers one request of the named peer. Whatever it throws becomes a 500 without its text. */
export type PeerHandler = (peer: string, request: PeerRequest) => Promise<PeerResponse>;

/** A peer that did not answer as it should; `peer` and the message say who and why. */
export interface PeerError extends Error {
  readonly name: 'PeerError';
  readonly peer: string;
}

export function peerError(peer: string, why: string, cause?: unknown): PeerError {
  return Object.assign(new Error(`${peer}: ${why}`, { cause }), { name: 'PeerError' as const, peer });
}

/** Whether all of a message came. A stream that its sender resets in the middle ends like any other in Node. */
export function cameWhole(stream: Http2Stream, headers: IncomingHttpHeaders, body: Uint8Array): boolean {
  const announced = headers['content-length'];
  return !stream.aborted && !stream.rstCode && (announced === undefined || Number(announced) === body.length);
}

/**
 * All bytes of `stream`; `take` is told of each chunk's length first and may refuse it by throwing.
 * @throws Error as soon as there are more than `limit`.
 */
export async function readAll(
  stream: Readable,
  limit: number,
  take: (bytes: number) => void = () => {},
): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > limit) throw new Error(`a message of more than ${limit} bytes was cut off`);
    take(chunk.length);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export function textResponse(
  status: number,
  text: string,
  contentType = 'text/plain; charset=utf-8',
): PeerResponse {
  return { status, body: new TextEncoder().encode(text), contentType };
}
