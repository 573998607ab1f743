/** Has a running daemon build a bundle, and fetches it. */
import { tryBase64 } from '../../core/encoding/base64.ts';
import { askDaemon } from '../../services/control/client.ts';
import { problem } from '../terminal/problem.ts';
import type { ExportSummary } from './build.ts';
import type { ExportAnswer } from './handlers.ts';
import type { Selection } from './selection.ts';

const BETWEEN_MS = 100;

export async function exportFromDaemon(
  socket: string,
  selection: Selection,
  progress: (done: number, of: number, entries: number) => void,
): Promise<{ readonly bytes: Uint8Array; readonly summary: ExportSummary }> {
  let answer = (await askDaemon(socket, 'export', { selection })) as ExportAnswer;
  while (answer.state === 'building') {
    progress(answer.done, answer.of, answer.entries);
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS));
    answer = (await askDaemon(socket, 'export', { id: answer.id })) as ExportAnswer;
  }
  const bytes = new Uint8Array(answer.bytes);
  for (let offset = 0; offset < bytes.length; ) {
    const { data } = (await askDaemon(socket, 'export-part', { id: answer.id, offset })) as { data: string };
    const part = tryBase64(data);
    if (!part || part.length === 0 || offset + part.length > bytes.length) {
      throw problem('the daemon’s answer is not understood', { where: socket });
    }
    bytes.set(part, offset);
    offset += part.length;
  }
  return { bytes, summary: answer.summary };
}
