import { ParseError, parseTOML } from 'toml-eslint-parser';
import { type TableNode, treeOf } from './tree.ts';

/** Something that is not TOML. */
export interface SyntaxFault {
  readonly line: number;
  readonly column: number;
  readonly message: string;
  /** What may stand there, where that can be said. */
  readonly allowed?: string;
}

const VALUES = '"text" in quotes, a number, true, false, a date, [a list] or { a table }';

/** More faults than this help nobody, and each costs another look at the text. */
const MOST_FAULTS = 40;

/** Tables that cannot be placed are read under such a name, so that the rest of their text is still checked. */
const SET_ASIDE = 'kosmos-set-aside-';

const TWICE = 'Defining a key multiple times is invalid';

const MESSAGES: Readonly<Record<string, string>> = {
  [TWICE]: 'is defined a second time',
  'Unspecified values are invalid': 'a value is missing',
  'Must be a newline': 'something follows the value on the same line',
};

/**
 * Reads TOML 1.0 and gives what could be read of it together with every syntax fault. The parser stops at
 * the first fault; here the faulty statement is blanked and the rest read again, so that one look shows all.
 */
export function parseSource(text: string): { readonly tree: TableNode; readonly faults: SyntaxFault[] } {
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  const faults: SyntaxFault[] = [];
  for (;;) {
    const result = tryParse(lines);
    if (!('fault' in result)) return { tree: withoutSetAside(result.tree), faults };
    const first = statementStart(lines, result.fault.line - 1);
    const fault = ownFault(lines, first) ?? result.fault;
    faults.push(describe(fault, lines, first));
    if (faults.length >= MOST_FAULTS) {
      faults.push({
        ...fault,
        message: `more than ${MOST_FAULTS} faults: the rest of the file was not read`,
      });
      return { tree: { kind: 'table', line: 1, column: 1, entries: new Map() }, faults };
    }
    blank(lines, first, fault.line - 1, faults.length);
  }
}

function tryParse(lines: readonly string[]): { readonly tree: TableNode } | { readonly fault: SyntaxFault } {
  try {
    return { tree: treeOf(parseTOML(lines.join('\n'), { tomlVersion: '1.0' })) };
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return { fault: { line: error.lineNumber, column: error.column + 1, message: error.message } };
  }
}

/** The first line of the statement that holds line `at`: everything before it reads well by itself. */
function statementStart(lines: readonly string[], at: number): number {
  for (let first = Math.min(at, lines.length - 1); first > 0; first--) {
    if (!('fault' in tryParse(lines.slice(0, first)))) return first;
  }
  return 0;
}

/**
 * What is wrong with a statement of one line taken by itself: the parser looks for what is defined twice
 * only after it has read everything, and may so have named a fault further down.
 */
function ownFault(lines: readonly string[], first: number): SyntaxFault | undefined {
  if (leftOpen(lines[first] ?? '')) return undefined;
  const alone = tryParse(lines.slice(0, first + 1));
  return 'fault' in alone && alone.fault.line === first + 1 ? alone.fault : undefined;
}

const STATEMENT = /^\s*(?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*\s*=/;
const HEADER = /^\s*\[/;
/** Also one that lacks its closing bracket, but not an entry of a list of lists. */
const HEADER_ALONE = /^\s*\[\[?\s*[\w"'][^[\],]*\]{0,2}\s*(?:#.*)?$/;

function describe(fault: SyntaxFault, lines: readonly string[], first: number): SyntaxFault {
  const line = lines[first] ?? '';
  const message = MESSAGES[fault.message] ?? decapitalise(fault.message);
  const subject = line.split(/[=#]/, 1)[0]?.trim() ?? '';
  if (first === fault.line - 1) {
    if (fault.message === TWICE) return { ...fault, message: `${subject} ${message}` };
    if (!STATEMENT.test(line)) return { ...fault, message };
    return { ...fault, message: `${subject}: ${message}`, allowed: VALUES };
  }
  // Noticed only on a later line: the statement has no proper end, and its own line is the one to look at.
  return {
    line: first + 1,
    column: (line.match(/\S/)?.index ?? 0) + 1,
    message: `${subject} is not a complete statement (${message}, noticed on line ${fault.line})`,
  };
}

function decapitalise(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** Takes the faulty statement out, keeping every other line where it is. */
function blank(lines: string[], first: number, faulty: number, count: number): void {
  const start = lines[first] ?? '';
  if (HEADER.test(start)) {
    lines[first] = `[${SET_ASIDE}${count}]`;
    return;
  }
  lines[first] = '';
  const goesOn = leftOpen(start);
  for (let at = first + 1; at < lines.length && (goesOn || at <= faulty); at++) {
    const line = lines[at] ?? '';
    if (STATEMENT.test(line) || HEADER_ALONE.test(line) || (at > faulty && line.trim() === '')) return;
    lines[at] = '';
  }
}

/** Whether a list, an inline table or a long string that begins on this line goes on below it. */
function leftOpen(line: string): boolean {
  if (HEADER.test(line)) return false;
  const count = (pattern: RegExp): number => line.match(pattern)?.length ?? 0;
  return count(/[[{]/g) > count(/[\]}]/g) || count(/"""|'''/g) % 2 === 1;
}

function withoutSetAside(tree: TableNode): TableNode {
  for (const key of [...tree.entries.keys()]) if (key.startsWith(SET_ASIDE)) tree.entries.delete(key);
  return tree;
}
