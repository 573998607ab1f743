import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { findCircle } from './circles.ts';
import { filesBelow, type Import, type Surveyed, survey } from './survey.ts';

/** The rooms of each storey; a new one is a decision, made here and in ARCHITECTURE.md. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  core: ['encoding', 'log', 'aggregation', 'learning', 'privacy'],
  state: ['provenance', 'journal', 'agreement', 'maintenance', 'ledger', 'settings'],
  services: [
    'acquisition',
    'training',
    'federation',
    'witnessing',
    'peering',
    'telemetry',
    'dashboard',
    'anchoring',
    'health',
    'control',
  ],
};

/** What core may stand on besides itself: pure libraries that run in a browser. */
const CORE_LIBRARIES = [
  'zod',
  '@noble/hashes',
  '@noble/ed25519',
  '@tensorflow/tfjs-core',
  'fourier-transform',
];

/** Clocks, I/O and chance come from outside. */
const IMPURE =
  /^(process|Buffer|console|performance|fetch|setTimeout|setInterval|setImmediate|queueMicrotask|crypto|globalThis|__dirname|__filename)(\.|$)|^(Math\.random|Date\.now|new Date\(\))$/;

const MOST_LINES = 400;

const TOP_LEVEL = new Set([
  ...[
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'biome.jsonc',
    '.gitignore',
    '.gitattributes',
    '.npmrc',
  ],
  ...['runtime', 'drivers', 'config', 'systemd', 'scripts', 'test', 'docs', '.ci'],
  ...['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'LICENSE', 'NOTICE'],
  // not in git
  ...['.git', 'node_modules', 'dist', '.kosmos', 'coverage'],
]);

/** Development tools that are run and not imported. */
const TOOLS = ['@biomejs/biome', 'tsx', 'typescript'];

const STOREYS = ['core', 'state', 'services'];
const ROOF = STOREYS.length;

type Say = (file: string, line: number, message: string) => void;

/** Everything in the tree at `root` that the design does not allow, as `file:line: what`. */
export function violations(root: string): string[] {
  const found: string[] = [];
  const say: Say = (file, line, message) => found.push(`${file}:${line}: ${message}`);
  const files = filesBelow(root, ['runtime', 'drivers', 'scripts', 'test'], ['.ts']);
  const surveyed = survey(root, files);

  for (const one of surveyed) {
    judgeFile(one, say);
    for (const imported of one.imports) judgeImport(one.file, imported, say);
  }
  const graph = new Map(surveyed.map((one) => [one.file, one.imports.flatMap(({ target }) => target ?? [])]));
  judgeCircles(graph, say);
  judgeLengths(root, say);
  judgeTopLevel(root, say);
  judgePackages(root, surveyed, say);
  return found;
}

function storeyOf(file: string): number | undefined {
  const [top, second] = file.split('/');
  if (top !== 'runtime' || second === undefined) return undefined;
  const index = STOREYS.indexOf(second);
  if (index >= 0) return index;
  return second === 'cli' || second.endsWith('.ts') ? ROOF : undefined;
}

/** The room of a file, `services/peering`; a file that lies in none belongs to its storey. */
function roomOf(file: string): string {
  const parts = file.split('/');
  return parts.slice(1, parts.length > 3 ? 3 : 2).join('/');
}

function judgeFile({ file, banned, names }: Surveyed, say: Say): void {
  for (const { line, text } of banned) say(file, line, `${text} is not used in this project`);
  const [top, second = '', third = ''] = file.split('/');
  if (top !== 'runtime') return;
  if (storeyOf(file) === undefined && second !== 'platform') {
    say(file, 1, 'below runtime/ there are core, state, services, cli and platform');
  }
  const rooms = ROOMS[second];
  if (rooms !== undefined && file.split('/').length > 3 && !rooms.includes(third)) {
    say(file, 1, `${second} has no room named ${third}; it has ${rooms.join(', ')}`);
  }
  if (second !== 'core') return;
  for (const { line, text } of names) {
    if (IMPURE.test(text)) say(file, line, `core is pure: no ${text}`);
  }
}

function judgeImport(file: string, { line, specifier, target }: Import, say: Say): void {
  const from = storeyOf(file);
  if (target !== undefined) {
    if (!/\.(ts|mjs|json)$/.test(specifier)) say(file, line, `${specifier} lacks its file ending`);
    judgeTarget(file, line, target, say);
  }
  if (from !== 0 || target !== undefined) return;
  const name = packageName(specifier);
  if (specifier.startsWith('node:') || builtinModules.includes(specifier)) {
    say(file, line, `core imports nothing of Node (${specifier})`);
  } else if (!specifier.startsWith('#') && !CORE_LIBRARIES.includes(name)) {
    say(file, line, `core does not import ${name}; it may use ${CORE_LIBRARIES.join(', ')}`);
  }
}

function judgeTarget(file: string, line: number, target: string, say: Say): void {
  const top = file.split('/')[0];
  const targetTop = target.split('/')[0] ?? '';
  const from = storeyOf(file);
  const to = storeyOf(target);
  if (top === 'drivers' && targetTop !== 'drivers')
    say(file, line, `a driver imports only drivers, not ${target}`);
  if (top !== 'runtime') return;

  const platform = 'runtime/platform/';
  if (target.startsWith(platform) && !file.startsWith(platform)) {
    say(file, line, `${platform} is entered through the # names of package.json only`);
  }
  if (!['runtime', 'drivers'].includes(targetTop)) say(file, line, `the program does not import ${target}`);
  if (targetTop === 'drivers' && from !== undefined && from < STOREYS.indexOf('services')) {
    say(file, line, `${STOREYS[from]} does not import drivers`);
  }
  if (from === undefined || to === undefined) return;
  if (to > from) say(file, line, `imports go down only: ${roomOf(file)} does not import ${roomOf(target)}`);
  const service = STOREYS.indexOf('services');
  const bothRooms = roomOf(file).includes('/') && roomOf(target).includes('/');
  if (from === service && to === service && bothRooms && roomOf(file) !== roomOf(target)) {
    say(file, line, `services do not import each other: ${roomOf(file)} does not import ${roomOf(target)}`);
  }
}

function judgeCircles(graph: ReadonlyMap<string, readonly string[]>, say: Say): void {
  const circle = findCircle(graph);
  if (circle !== undefined) say(circle[0] ?? '', 1, `imports go in a circle: ${circle.join(' -> ')}`);

  const rooms = new Map<string, string[]>();
  for (const [file, targets] of graph) {
    if (storeyOf(file) === undefined || storeyOf(file) === ROOF) continue;
    const room = roomOf(file);
    const others = targets
      .filter((target) => storeyOf(target) !== undefined && roomOf(target) !== room)
      .map(roomOf);
    rooms.set(room, [...(rooms.get(room) ?? []), ...others]);
  }
  const roomCircle = findCircle(rooms);
  if (roomCircle !== undefined) {
    say(`runtime/${roomCircle[0]}`, 1, `rooms import each other: ${roomCircle.join(' -> ')}`);
  }
}

function judgeLengths(root: string, say: Say): void {
  const files = filesBelow(root, ['runtime', 'drivers', 'scripts', 'test'], ['.ts', '.mjs', '.tsx']);
  for (const file of files) {
    const lines = readFileSync(join(root, file), 'utf8').trimEnd().split('\n').length;
    if (lines > MOST_LINES) say(file, MOST_LINES + 1, `${lines} lines: a file has at most ${MOST_LINES}`);
  }
}

function judgeTopLevel(root: string, say: Say): void {
  for (const name of readdirSync(root)) {
    if (!TOP_LEVEL.has(name) && !name.endsWith('.tgz')) say(name, 1, 'the top level of the project is given');
  }
}

interface Manifest {
  readonly imports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

function judgePackages(root: string, surveyed: readonly Surveyed[], say: Say): void {
  const path = join(root, 'package.json');
  const manifest: Manifest = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
  const needed = Object.keys(manifest.dependencies ?? {});
  const optional = Object.keys(manifest.optionalDependencies ?? {});
  const development = Object.keys(manifest.devDependencies ?? {});
  const used = new Set<string>();
  const usedInProgram = new Set<string>();

  for (const { file, imports, strings } of surveyed) {
    const program = /^(runtime|drivers)\//.test(file);
    // An absent optional part must not stop the type-check, so its name may stand in a string alone.
    for (const name of optional) if (program && strings.has(name)) usedInProgram.add(name);
    for (const { line, specifier, target, atStart } of imports) {
      if (specifier.startsWith('#') && manifest.imports?.[specifier] === undefined) {
        say(file, line, `package.json names no ${specifier}`);
      }
      if (target !== undefined || specifier.startsWith('#') || isBuiltin(specifier)) continue;
      const name = packageName(specifier);
      used.add(name);
      if (program) usedInProgram.add(name);
      const known = program ? [...needed, ...optional] : [...needed, ...optional, ...development];
      if (!known.includes(name)) say(file, line, `${name} is not among the dependencies of package.json`);
      if (optional.includes(name) && atStart)
        say(file, line, `${name} is optional: it is imported when it is needed`);
    }
  }
  for (const name of [...needed, ...optional]) {
    if (!usedInProgram.has(name)) say('package.json', 1, `nothing in runtime/ or drivers/ imports ${name}`);
  }
  const scripts = filesBelow(root, ['scripts'], ['.mjs']).map((file) =>
    readFileSync(join(root, file), 'utf8'),
  );
  for (const name of development) {
    const byScript = scripts.some((text) => text.includes(`'${name}'`));
    if (!used.has(name) && !byScript && !TOOLS.includes(name) && !name.startsWith('@types/')) {
      say('package.json', 1, `nothing uses ${name}`);
    }
  }
}

function isBuiltin(specifier: string): boolean {
  return specifier.startsWith('node:') || builtinModules.includes(specifier);
}

function packageName(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
