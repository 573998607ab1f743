import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { violations } from './architecture/rules.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

test('the project holds to its design', () => {
  assert.deepEqual(violations(ROOT), []);
});

/** A small project that keeps every rule, with `changes` on top: file name to text. */
function violationsWith(changes: Readonly<Record<string, string>>): string[] {
  const files: Record<string, string> = {
    'package.json': JSON.stringify({
      imports: { '#sha256': './runtime/platform/sha256.node.ts' },
      dependencies: { zod: '1' },
      optionalDependencies: { onoff: '1' },
      devDependencies: { cborg: '1' },
    }),
    'runtime/platform/sha256.node.ts':
      "import { createHash } from 'node:crypto';\nexport const sha256 = createHash;\n",
    'runtime/core/log/tree.ts': "import { sha256 } from '#sha256';\nexport const tree = sha256;\n",
    'runtime/state/journal/journal.ts':
      "import type { tree } from '../../core/log/tree.ts';\nexport type T = typeof tree;\n",
    'runtime/services/peering/peering.ts': "import { z } from 'zod';\nexport const s = z;\n",
    'runtime/services/telemetry/telemetry.ts': 'export const b = 1;\n',
    'runtime/gateway.ts':
      "import './services/peering/peering.ts';\nswitch (1) {\n  default:\n}\nexport const any = { default: 1 };\n",
    'drivers/gpio.ts':
      "import type { Gpio } from 'onoff';\nexport const load = (): Promise<Gpio> => import('onoff');\n",
    'test/a.test.ts': "import { encode } from 'cborg';\nencode(1);\n",
    ...changes,
  };
  const root = mkdtempSync(join(tmpdir(), 'kosmos-sample-'));
  try {
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), text);
    }
    symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
    return violations(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

test('a project that keeps every rule is not blamed', () => {
  assert.deepEqual(violationsWith({}), []);
});

/** What is broken, the file that does, and how the blame begins. */
const BREACHES: readonly (readonly [string, Readonly<Record<string, string>>, RegExp])[] = [
  [
    'an import upwards',
    { 'runtime/core/log/up.ts': "import '../../state/journal/journal.ts';\n" },
    /^runtime\/core\/log\/up\.ts:1: imports go down only: core\/log does not import state\/journal$/,
  ],
  [
    'an import upwards of a type alone, in another line, written as a type',
    {
      'runtime/state/ledger/up.ts':
        "\n// import\nexport type T = import('../../services/peering/peering.ts').S;\n",
    },
    /^runtime\/state\/ledger\/up\.ts:3: imports go down only/,
  ],
  [
    'a service that imports another',
    { 'runtime/services/telemetry/x.ts': "export { s } from '../peering/peering.ts';\n" },
    /^runtime\/services\/telemetry\/x\.ts:1: services do not import each other/,
  ],
  [
    'a circle of files',
    {
      'runtime/core/log/a.ts': "import './b.ts';\n",
      'runtime/core/log/b.ts': "import type { a } from './a.ts';\nexport type A = a;\n",
    },
    /imports go in a circle: runtime\/core\/log\/a\.ts -> runtime\/core\/log\/b\.ts -> runtime\/core\/log\/a\.ts$/,
  ],
  [
    'a circle of rooms',
    {
      'runtime/core/encoding/a.ts': "import '../log/tree.ts';\n",
      'runtime/core/encoding/c.ts': 'export {};\n',
      'runtime/core/log/b.ts': "import '../encoding/c.ts';\n",
    },
    /rooms import each other: core\/encoding -> core\/log -> core\/encoding$/,
  ],
  [
    'Node in core',
    { 'runtime/core/log/x.ts': "import 'node:fs';\n" },
    /x\.ts:1: core imports nothing of Node \(node:fs\)$/,
  ],
  [
    'Node in core, the old way',
    { 'runtime/core/log/x.ts': "import type { Stats } from 'fs';\n" },
    /nothing of Node \(fs\)$/,
  ],
  [
    'a library in core',
    { 'runtime/core/log/x.ts': "await import('cborg');\n" },
    /x\.ts:1: core does not import cborg/,
  ],
  [
    'a clock in core',
    { 'runtime/core/log/x.ts': 'export const now = () => Date.now();\n' },
    /core is pure: no Date\.now$/,
  ],
  [
    'the time in core',
    { 'runtime/core/log/x.ts': 'export const now = () => new Date();\n' },
    /no new Date\(\)$/,
  ],
  [
    'chance in core',
    { 'runtime/core/log/x.ts': 'export const r = 1 + Math.random();\n' },
    /no Math\.random$/,
  ],
  ['Buffer in core', { 'runtime/core/log/x.ts': "export const b = Buffer.from('');\n" }, /no Buffer\.from$/],
  [
    'a driver that imports runtime',
    { 'drivers/x.ts': "import '../runtime/core/log/tree.ts';\n" },
    /imports only drivers/,
  ],
  [
    'state that imports drivers',
    { 'runtime/state/ledger/x.ts': "import '../../../drivers/gpio.ts';\n" },
    /state does not import drivers$/,
  ],
  [
    'a way round the # names',
    { 'runtime/core/log/x.ts': "import '../../platform/sha256.node.ts';\n" },
    /entered through the # names/,
  ],
  ['an unknown # name', { 'runtime/core/log/x.ts': "import '#md5';\n" }, /package\.json names no #md5$/],
  [
    'the program importing a test',
    { 'runtime/gateway.ts': "import '../test/a.test.ts';\n" },
    /does not import test\/a\.test\.ts$/,
  ],
  [
    'a room of no storey',
    { 'runtime/utils/x.ts': 'export {};\n' },
    /runtime\/utils\/x\.ts:1: below runtime\/ there are core/,
  ],
  ['an unknown room', { 'runtime/state/misc/x.ts': 'export {};\n' }, /state has no room named misc/],
  ['any', { 'drivers/x.ts': 'export const x: any = 1;\n' }, /drivers\/x\.ts:1: any is not used/],
  ['an enum', { 'drivers/x.ts': '\nexport enum X {}\n' }, /drivers\/x\.ts:2: enum is not used/],
  ['a default export', { 'drivers/x.ts': 'export default function x() {}\n' }, /default is not used/],
  [
    'a default export by name',
    { 'drivers/x.ts': 'const x = 1;\nexport { x as default };\n' },
    /x\.ts:2: default is not used/,
  ],
  [
    'a parameter property',
    { 'drivers/x.ts': 'class X { constructor(readonly a: string) {} }\nnew X("");\n' },
    /parameter property/,
  ],
  ['a long file', { 'drivers/x.ts': 'export {};\n'.repeat(401) }, /drivers\/x\.ts:401: 401 lines/],
  ['a missing file ending', { 'drivers/x.ts': "import './gpio';\n" }, /\.\/gpio lacks its file ending$/],
  ['a stray file', { 'notes.md': '' }, /^notes\.md:1: the top level of the project is given$/],
  [
    'a package that is not declared',
    { 'drivers/x.ts': "import 'mqtt/x';\n" },
    /mqtt is not among the dependencies/,
  ],
  [
    'a development package in the program',
    { 'drivers/x.ts': "import 'cborg';\n" },
    /cborg is not among the dependencies/,
  ],
  [
    'an optional package that is always imported',
    { 'drivers/x.ts': "import 'onoff';\n" },
    /onoff is optional/,
  ],
  [
    'a package nobody imports',
    { 'runtime/services/peering/peering.ts': 'export {};\n' },
    /^package\.json:1: .* imports zod$/,
  ],
  [
    'a development package nobody uses',
    { 'test/a.test.ts': 'export {};\n' },
    /^package\.json:1: nothing uses cborg$/,
  ],
];

for (const [what, changes, blame] of BREACHES) {
  test(`is noticed: ${what}`, () => {
    const found = violationsWith(changes);
    assert.ok(found.length > 0, 'nothing was noticed');
    assert.match(found[0] ?? '', blame, found.join('\n'));
  });
}
