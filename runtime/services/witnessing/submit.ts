/** The client's side of C2SP tlog-witness over HTTP. */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';

/** The longest answer that is read: a few signature lines. */
const MAX_ANSWER_BYTES = 65_536;

/**
 * Sends a checkpoint to the witness at a submission prefix; within `limitMs`, everything included.
 * @throws Error when there is no whole answer in that time.
 */
export function submitCheckpoint(
  prefix: string,
  body: string,
  limitMs: number,
): Promise<{ readonly status: number; readonly body: Uint8Array }> {
  const url = new URL(`${prefix.replace(/\/+$/, '')}/add-checkpoint`);
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(body);
    const request: ClientRequest = send(url, {
      method: 'POST',
      headers: { 'content-type': 'text/plain; charset=utf-8', 'content-length': bytes.length },
    });
    let answered = false;
    const timer = setTimeout(
      () => request.destroy(new Error(`${url.origin} gives no answer within ${limitMs} ms`)),
      limitMs,
    );
    request.once('close', () => {
      clearTimeout(timer);
      if (!answered) reject(new Error(`${url.origin} has ended the connection`));
    });
    request.once('error', reject);
    request.once('response', (response) => {
      answered = true;
      readAnswer(response).then(
        (answer) => resolve({ status: response.statusCode ?? 0, body: answer }),
        (error: Error) => {
          reject(error);
          request.destroy();
        },
      );
    });
    request.end(bytes);
  });
}

async function readAnswer(response: IncomingMessage): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > MAX_ANSWER_BYTES) throw new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}
