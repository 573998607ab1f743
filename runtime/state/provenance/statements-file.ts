/** Statements about keys in a file: text, one base64 COSE_Sign1 a line, as they are handed from one to another. */
import { join } from 'node:path';
import { toBase64, tryBase64 } from '../../core/encoding/base64.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import { exists, readBounded, replaceFile } from '../files.ts';
import { keysDirectory } from './purposes.ts';

/** The longest statement that is read, in bytes. */
export const MAX_STATEMENT_BYTES = 2048;
const MAX_FILE = 4 * 1024 * 1024;

/** Where a gateway keeps its own statements and those that were handed to it while it did not run. */
export function statementsPath(directory: string): string {
  return join(keysDirectory(directory), 'statements');
}

/** The statements in the text of such a file; none is verified. @throws Error naming the line that is none. */
export function parseStatements(text: string, file: string): Uint8Array[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .flatMap((line, index) => {
      if (line === '') return [];
      const bytes = line.length <= 2 * MAX_STATEMENT_BYTES ? tryBase64(line) : undefined;
      if (!bytes || bytes.length === 0)
        throw new Error(`${file}, line ${index + 1}: not base64 of a statement`);
      return [bytes];
    });
}

/** As parseStatements, of the file at `path`; none when there is no file. */
export async function readStatements(path: string): Promise<Uint8Array[]> {
  return (await exists(path)) ? parseStatements(await readBounded(path, MAX_FILE), path) : [];
}

/** Adds a statement to the file at `path`; durable when it resolves, and nothing when it is there already. */
export async function appendStatement(path: string, statement: Uint8Array): Promise<void> {
  const held = await readStatements(path);
  if (held.some((one) => equalBytes(one, statement))) return;
  await replaceFile(path, [...held, statement].map((one) => `${toBase64(one)}\n`).join(''));
}
