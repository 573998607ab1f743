/** What goes between two gateways: a request to a path, and its answer. */
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

/** All bytes of `stream`. @throws Error as soon as there are more than `limit`. */
export async function readAll(stream: Readable, limit: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > limit) throw new Error(`a message of more than ${limit} bytes was cut off`);
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
