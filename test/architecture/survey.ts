import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { type Node, type SourceFile, SyntaxKind } from 'typescript/unstable/ast';
import * as is from 'typescript/unstable/ast/is';
import { API } from 'typescript/unstable/sync';

/** Something in a file, with its line from 1. */
export interface Mark {
  readonly line: number;
  readonly text: string;
}

export interface Import extends Mark {
  /** As written; `text` says it too. */
  readonly specifier: string;
  /** The file of the project it leads to, from the root; undefined for packages and `node:`. */
  readonly target: string | undefined;
  /** Whether the running program imports it at once: neither a type alone nor by `import()`. */
  readonly atStart: boolean;
}

/** What the rules look at in one file. */
export interface Surveyed {
  /** From the root, with `/`. */
  readonly file: string;
  readonly lines: number;
  readonly imports: readonly Import[];
  /** `any`, `enum`, default exports, parameter properties. */
  readonly banned: readonly Mark[];
  /** Free names and members such as `process`, `Date.now`. */
  readonly names: readonly Mark[];
  readonly strings: ReadonlySet<string>;
}

/** Every file below `directories` of `root` whose name ends in one of `endings`, from the root, with `/`. */
export function filesBelow(
  root: string,
  directories: readonly string[],
  endings: readonly string[],
): string[] {
  return directories.flatMap((directory) => {
    if (!existsSync(join(root, directory))) return [];
    return readdirSync(join(root, directory), { withFileTypes: true }).flatMap((entry) => {
      const path = posix.join(directory, entry.name);
      if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesBelow(root, [path], endings);
      return endings.some((ending) => entry.name.endsWith(ending)) ? [path] : [];
    });
  });
}

/** Parses the files with TypeScript's own parser; nothing is resolved or checked. */
export function survey(root: string, files: readonly string[]): Surveyed[] {
  const directory = mkdtempSync(join(tmpdir(), 'kosmos-architecture-'));
  const config = join(directory, 'tsconfig.json');
  const compilerOptions = {
    noResolve: true,
    noLib: true,
    types: [],
    allowImportingTsExtensions: true,
    noEmit: true,
  };
  writeFileSync(config, JSON.stringify({ compilerOptions, files: files.map((file) => join(root, file)) }));
  const api = new API({ cwd: root });
  try {
    const program = api.updateSnapshot({ openProjects: [config] }).getProject(config)?.program;
    return files.map((file) => {
      const source = program?.getSourceFile(join(root, file));
      if (source === undefined) throw new Error(`TypeScript does not read ${file}`);
      return look(file, source, readFileSync(join(root, file), 'utf8'));
    });
  } finally {
    api.close();
    rmSync(directory, { recursive: true });
  }
}

function look(file: string, source: SourceFile, text: string): Surveyed {
  const imports: Import[] = [];
  const banned: Mark[] = [];
  const names: Mark[] = [];
  const strings = new Set<string>();
  const lineOf = (node: Node): number => text.slice(0, node.getStart(source)).split('\n').length;

  const visit = (node: Node, parent: Node | undefined): void => {
    const found = importOf(node);
    if (found !== undefined) {
      const { specifier, atStart } = found;
      imports.push({
        line: lineOf(node),
        text: specifier,
        specifier,
        atStart,
        target: targetOf(file, specifier),
      });
    }
    const fault = bannedIn(node);
    if (fault !== undefined) banned.push({ line: lineOf(node), text: fault });
    const name = freeName(node, parent);
    if (name !== undefined) names.push({ line: lineOf(node), text: name });
    if (is.isStringLiteral(node)) strings.add(node.text);
    node.forEachChild((child) => visit(child, node));
  };
  visit(source, undefined);
  const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
  return { file, lines, imports, banned, names, strings };
}

function importOf(node: Node): { readonly specifier: string; readonly atStart: boolean } | undefined {
  if (is.isImportDeclaration(node) || is.isExportDeclaration(node)) {
    const from = node.moduleSpecifier;
    if (from === undefined || !is.isStringLiteral(from)) return undefined;
    const typeOnly = is.isExportDeclaration(node)
      ? node.isTypeOnly
      : node.importClause?.phaseModifier === SyntaxKind.TypeKeyword;
    return { specifier: from.text, atStart: !typeOnly };
  }
  if (is.isImportTypeNode(node)) {
    const { argument } = node;
    if (!is.isLiteralTypeNode(argument) || !is.isStringLiteral(argument.literal)) return undefined;
    return { specifier: argument.literal.text, atStart: false };
  }
  if (!is.isCallExpression(node)) return undefined;
  const [first] = node.arguments;
  const { expression } = node;
  const called =
    expression.kind === SyntaxKind.ImportKeyword ||
    (is.isIdentifier(expression) && expression.text === 'require');
  if (!called || first === undefined || !is.isStringLiteral(first)) return undefined;
  return { specifier: first.text, atStart: false };
}

function targetOf(file: string, specifier: string): string | undefined {
  return specifier.startsWith('.') ? posix.join(posix.dirname(file), specifier) : undefined;
}

function bannedIn(node: Node): string | undefined {
  if (node.kind === SyntaxKind.AnyKeyword) return 'any';
  if (is.isEnumDeclaration(node)) return 'enum';
  if (is.isExportAssignment(node) || node.kind === SyntaxKind.DefaultKeyword) return 'default';
  if (is.isExportSpecifier(node) && node.name.text === 'default') return 'default';
  if (is.isParameterDeclaration(node) && (node.modifiers?.length ?? 0) > 0) return 'a parameter property';
  return undefined;
}

/** `name`, or `object.member` where a free name is asked for a member. */
function freeName(node: Node, parent: Node | undefined): string | undefined {
  if (is.isNewExpression(node) && is.isIdentifier(node.expression) && (node.arguments?.length ?? 0) === 0) {
    return `new ${node.expression.text}()`;
  }
  if (!is.isIdentifier(node) || parent === undefined) return undefined;
  if (is.isPropertyAccessExpression(parent)) {
    return parent.expression === node ? `${node.text}.${parent.name.text}` : undefined;
  }
  const named = 'name' in parent && parent.name === node;
  const expression = is.isExpression(parent) || is.isVariableDeclaration(parent) || is.isStatement(parent);
  return expression && !named && !is.isPropertyAssignment(parent) ? node.text : undefined;
}
