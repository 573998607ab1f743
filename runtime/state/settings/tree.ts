import type { AST } from 'toml-eslint-parser';

/** Where something stands in a file; both count from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** A TOML document with the place of everything in it. */
export type Node = TableNode | ListNode | ValueNode;

export interface TableNode extends Place {
  readonly kind: 'table';
  readonly entries: Map<string, Entry>;
}

export interface ListNode extends Place {
  readonly kind: 'list';
  readonly items: Node[];
}

export interface ValueNode extends Place {
  readonly kind: 'value';
  readonly value: string | number | boolean | Date;
  /** Set where the file holds a whole number that a double cannot: the digits as written. */
  readonly tooBig?: string;
}

/** A key and what belongs to it; the place is the key's. */
export interface Entry extends Place {
  readonly node: Node;
}

/** The tree of a parsed document. The parser has already refused what is defined twice. */
export function treeOf(program: AST.TOMLProgram): TableNode {
  const root = tableAt({ line: 1, column: 1 });
  for (const part of program.body[0].body) {
    if (part.type === 'TOMLKeyValue') putKeyValue(root, part);
    else {
      const table = openTable(root, part);
      for (const pair of part.body) putKeyValue(table, pair);
    }
  }
  return root;
}

function placeOf(node: AST.TOMLNode): Place {
  return { line: node.loc.start.line, column: node.loc.start.column + 1 };
}

function tableAt(place: Place): TableNode {
  return { kind: 'table', ...place, entries: new Map() };
}

/** The table below `key`, made if it is not there; of a list of tables the last one, as TOML says. */
function enter(table: TableNode, key: string, place: Place): TableNode {
  const found = table.entries.get(key)?.node;
  if (found === undefined) {
    const made = tableAt(place);
    table.entries.set(key, { ...place, node: made });
    return made;
  }
  const last = found.kind === 'list' ? found.items.at(-1) : found;
  if (last?.kind !== 'table') throw new Error(`${key} on line ${place.line} is not a table`);
  return last;
}

function openTable(root: TableNode, header: AST.TOMLTable): TableNode {
  const place = placeOf(header);
  const keys = header.key.keys.map(nameOf);
  let table = root;
  for (const key of keys.slice(0, -1)) table = enter(table, key, place);
  const last = keys.at(-1) ?? '';
  if (header.kind === 'standard') return enter(table, last, place);

  const made = tableAt(place);
  const found = table.entries.get(last)?.node;
  if (found?.kind === 'list') found.items.push(made);
  else table.entries.set(last, { ...place, node: { kind: 'list', ...place, items: [made] } });
  return made;
}

function putKeyValue(table: TableNode, pair: AST.TOMLKeyValue): void {
  const keys = pair.key.keys;
  let target = table;
  for (const key of keys.slice(0, -1)) target = enter(target, nameOf(key), placeOf(key));
  const last = keys.at(-1);
  if (last !== undefined) target.entries.set(nameOf(last), { ...placeOf(last), node: nodeOf(pair.value) });
}

function nameOf(key: AST.TOMLBare | AST.TOMLQuoted): string {
  return key.type === 'TOMLBare' ? key.name : key.value;
}

function nodeOf(content: AST.TOMLContentNode): Node {
  const place = placeOf(content);
  if (content.type === 'TOMLArray') return { kind: 'list', ...place, items: content.elements.map(nodeOf) };
  if (content.type === 'TOMLInlineTable') {
    const table = tableAt(place);
    for (const pair of content.body) putKeyValue(table, pair);
    return table;
  }
  const value: ValueNode = { kind: 'value', ...place, value: content.value };
  if (content.kind === 'integer' && !Number.isSafeInteger(content.value)) {
    return { ...value, tooBig: content.bigint.toString() };
  }
  return value;
}
