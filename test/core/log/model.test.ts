/**
 * Random histories against plain models: a witness that is shown honest growth, forks, lies, replays and
 * races, and a tree that grows, is thrown back to an earlier state, and grows otherwise.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { formatCheckpoint } from '../../../runtime/core/log/checkpoint.ts';
import { cosign, createCosignatureVerifier } from '../../../runtime/core/log/cosignature.ts';
import { emptyRoot } from '../../../runtime/core/log/hash.ts';
import { planMultiproof, rootFromMultiproof } from '../../../runtime/core/log/multiproof.ts';
import { createNoteVerifier, formatNote, openNote, signNote } from '../../../runtime/core/log/note.ts';
import { consistencyProofSync, inclusionProofSync, readProofSync } from '../../../runtime/core/log/proof.ts';
import { hashReaderFromTiles, newTiles } from '../../../runtime/core/log/tiles.ts';
import { createFrontier, type Frontier, type FrontierState } from '../../../runtime/core/log/tree.ts';
import { verifyConsistency, verifyInclusion } from '../../../runtime/core/log/verify.ts';
import {
  formatAddCheckpoint,
  type Judgement,
  judge,
  parseAddCheckpoint,
  type WitnessedHead,
} from '../../../runtime/core/log/witness.ts';
import { cosignerOf, logOf } from './keys.ts';
import { naiveLeaf, naivePath, naiveProof, naiveRoot } from './naive.ts';

const ORIGIN = 'example.com/log';
const LOG = logOf(ORIGIN, 1);
const STRANGER = logOf('example.com/stranger', 2);
const UNKNOWN = 'example.com/unknown';
const VERIFIERS = [createNoteVerifier(LOG.vkey)];
const WITNESS = cosignerOf('witness.example/w', 3);
const WITNESS_KEY = createCosignatureVerifier(WITNESS.vkey);

/** Leaves by their names: two trees are the same where their names are. */
type Tree = readonly string[];

const leafOf = (name: string) => naiveLeaf(new TextEncoder().encode(name));
const leavesOf = (tree: Tree) => tree.map(leafOf);
const begins = (small: Tree, large: Tree) => small.every((name, i) => large[i] === name);
const LIE = 'lie';

/** What is under a signature: a tree that somebody has, or a root that was made up. */
function rootOf(tree: Tree): Uint8Array {
  return tree[0]?.startsWith(LIE) ? leafOf(`${tree[0]} of ${tree.length}`) : naiveRoot(leavesOf(tree));
}

interface Request {
  readonly body: string;
  readonly origin: string;
  readonly tree: Tree;
  readonly old: number;
  readonly proof: readonly Uint8Array[];
  readonly signed: 'log' | 'stranger' | 'forged';
}

interface WitnessModel {
  /** What the log's owner has, and could sign: views that may share a beginning. */
  views: string[][];
  /** The tree that the witness has cosigned last. */
  stored: Tree | undefined;
  cosigned: Tree[];
  requests: Request[];
  names: number;
  /** Every answer that was given. */
  statuses: Set<number>;
}

/** The witness itself: the judge, and one head stored for it. */
interface Witness {
  head: WitnessedHead | undefined;
}

function send(witness: Witness, request: Request): Judgement {
  const parsed = parseAddCheckpoint(request.body);
  const stored = parsed.checkpoint.origin === ORIGIN ? witness.head : undefined;
  return judge(parsed, stored, (origin) => (origin === ORIGIN ? VERIFIERS : undefined));
}

/** What C2SP tlog-witness says, told of trees instead of hashes. */
function expected(stored: Tree | undefined, { origin, tree, old, proof, signed }: Request): number {
  const known = stored ?? [];
  if (origin !== ORIGIN) return 404;
  if (signed !== 'log') return 403;
  if (old > tree.length) return 400;
  if (old !== known.length) return 409;
  if (!begins(known, tree)) return 422;
  const madeUp = tree[0]?.startsWith(LIE) === true;
  // A made-up root can be repeated, or be the first; nothing grows from it, and nothing leads to it.
  if (madeUp && old !== 0 && old !== tree.length) return 422;
  const right = old === 0 || old === tree.length ? [] : naiveProof(old, leavesOf(tree));
  const same = proof.length === right.length && proof.every((line, i) => toHex(line) === toHex(right[i]!));
  return same ? 200 : 422;
}

function settle(model: WitnessModel, witness: Witness, request: Request, judgement: Judgement): void {
  const status = judgement.kind === 'accept' ? 200 : judgement.kind === 'conflict' ? 409 : judgement.status;
  assert.equal(status, expected(model.stored, request), request.body);
  model.statuses.add(status);
  if (judgement.kind === 'conflict') assert.equal(judgement.size, model.stored?.length ?? 0);
  if (judgement.kind === 'refuse') assert.equal(judgement.signed, [400, 422].includes(judgement.status));
  if (judgement.kind !== 'accept') return;
  witness.head = judgement.head;
  const text = request.body.slice(request.body.indexOf('\n\n') + 2).split('\n\n')[0];
  const line = cosign(WITNESS, `${text}\n`, 1_700_000_000 + model.cosigned.length);
  openNote(formatNote({ text: `${text}\n`, signatures: [line] }), [WITNESS_KEY]);
  assert.equal(toHex(judgement.head.root), toHex(rootOf(request.tree)));
  // What must never happen, told without the judge's own rule: two heads cosigned that no one log has.
  for (const other of model.cosigned) {
    const [small, large] =
      other.length <= request.tree.length ? [other, request.tree] : [request.tree, other];
    assert.ok(begins(small, large), `cosigned ${other.length} and ${request.tree.length} of two logs`);
  }
  model.stored = request.tree;
  model.cosigned.push(request.tree);
}

type Step = fc.Command<WitnessModel, Witness>;

const grow = (view: number, count: number): Step => ({
  check: () => true,
  run(model) {
    const tree = model.views[view % model.views.length]!;
    for (let i = 0; i < count && tree.length < 60; i++) tree.push(`leaf ${model.names++}`);
  },
  toString: () => `grow(${view}, ${count})`,
});

const fork = (view: number, at: number): Step => ({
  check: ({ views }) => views.length < 6,
  run(model) {
    const tree = model.views[view % model.views.length]!;
    model.views.push(tree.slice(0, at % (tree.length + 1)));
  },
  toString: () => `fork(${view}, ${at})`,
});

interface Shape {
  readonly view: number;
  readonly size: number | 'all' | 'stored';
  readonly old: number | 'stored';
  readonly proof: 'right' | 'none' | 'reversed' | 'of another view' | 'one more' | 'one changed';
  readonly signed: 'log' | 'log' | 'stranger' | 'forged';
  readonly origin: string;
  readonly lie: boolean;
}

function requestOf(model: WitnessModel, { view, size, old, proof, signed, origin, lie }: Shape): Request {
  const whole = model.views[view % model.views.length]!;
  const stored = model.stored?.length ?? 0;
  const wanted = size === 'all' ? whole.length : size === 'stored' ? stored : size;
  const cut = whole.slice(0, wanted);
  const tree = lie && cut.length > 0 ? cut.map((_, i) => `${LIE} ${view} ${i}`) : cut;
  const from = old === 'stored' ? stored : old;
  const lines = (of: Tree) =>
    from > 0 && from < of.length && from < tree.length
      ? naiveProof(from, leavesOf(of.slice(0, tree.length)))
      : [];
  const right = tree === cut ? lines(cut) : [];
  const made = {
    right,
    none: [],
    reversed: right.toReversed(),
    'of another view': lines(model.views[(view + 1) % model.views.length]!),
    'one more': [...right, leafOf('more')],
    'one changed': [...right.slice(0, -1), leafOf('changed')],
  };
  const given = made[proof];
  const text = formatCheckpoint({ origin, size: tree.length, root: rootOf(tree), extensions: [] });
  const signer = signed === 'stranger' || origin !== ORIGIN ? STRANGER : LOG;
  const [line] = signNote(text, [signer]).signatures;
  const signature = signed === 'forged' ? line!.signature.with(9, line!.signature[9]! ^ 1) : line!.signature;
  const note = formatNote({ text, signatures: [{ ...line!, signature }] });
  return { body: formatAddCheckpoint(from, given, note), origin, tree, old: from, proof: given, signed };
}

const submit = (shape: Shape): Step => ({
  check: () => true,
  run(model, witness) {
    const request = requestOf(model, shape);
    model.requests.push(request);
    settle(model, witness, request, send(witness, request));
  },
  toString: () => `submit(${JSON.stringify(shape)})`,
});

const replay = (which: number): Step => ({
  check: ({ requests }) => requests.length > 0,
  run(model, witness) {
    const request = model.requests[which % model.requests.length]!;
    settle(model, witness, request, send(witness, request));
  },
  toString: () => `replay(${which})`,
});

/** Two requests judged at one time: the slower finds that the head has moved, and is judged again. */
const race = (a: Shape, b: Shape): Step => ({
  check: () => true,
  run(model, witness) {
    const [first, second] = [requestOf(model, a), requestOf(model, b)];
    model.requests.push(first, second);
    const before = witness.head;
    const judgements = [send(witness, first), send(witness, second)];
    settle(model, witness, first, judgements[0]!);
    settle(model, witness, second, witness.head === before ? judgements[1]! : send(witness, second));
  },
  toString: () => `race(${JSON.stringify(a)}, ${JSON.stringify(b)})`,
});

const shape: fc.Arbitrary<Shape> = fc.record(
  {
    view: fc.nat(5),
    size: fc.oneof({ weight: 3, arbitrary: fc.constantFrom('all' as const, 'stored' as const) }, fc.nat(60)),
    old: fc.oneof({ weight: 3, arbitrary: fc.constant('stored' as const) }, fc.nat(60)),
    proof: fc.oneof(
      { weight: 4, arbitrary: fc.constant('right' as const) },
      fc.constantFrom('none', 'reversed', 'of another view', 'one more', 'one changed'),
    ),
    signed: fc.oneof(
      { weight: 8, arbitrary: fc.constant('log' as const) },
      fc.constantFrom('stranger', 'forged'),
    ),
    origin: fc.oneof({ weight: 12, arbitrary: fc.constant(ORIGIN) }, fc.constant(UNKNOWN)),
    lie: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, fc.constant(true)),
  },
  { noNullPrototype: true },
);

/** The log as it should be: the newest head of a view, from where the witness stands. */
const honest = (view: number): Step =>
  submit({ view, size: 'all', old: 'stored', proof: 'right', signed: 'log', origin: ORIGIN, lie: false });

test('a witness never cosigns two heads that no one log has, whatever it is sent', () => {
  const seen = { grown: 0, statuses: new Set<number>() };
  const steps = fc.commands(
    [
      fc.tuple(fc.nat(5), fc.integer({ min: 1, max: 12 })).map(([view, count]) => grow(view, count)),
      fc.tuple(fc.nat(5), fc.nat(60)).map(([view, at]) => fork(view, at)),
      ...[shape.map(submit), shape.map(submit), fc.nat(5).map(honest)],
      fc.nat(100).map(replay),
      fc.tuple(shape, shape).map(([a, b]) => race(a, b)),
    ],
    { maxCommands: 50, size: 'max' },
  );
  fc.assert(
    fc.property(steps, (commands) => {
      const model: WitnessModel = {
        ...{ views: [[]], stored: undefined, cosigned: [], requests: [], names: 0 },
        statuses: seen.statuses,
      };
      fc.modelRun(() => ({ model, real: { head: undefined } }), commands);
      const grown = model.cosigned.filter((tree, i) => i > 0 && tree.length > model.cosigned[i - 1]!.length);
      seen.grown += grown.length;
    }),
    { numRuns: 250, seed: 62, includeErrorInReport: true },
  );
  // Or nothing was tried at all.
  assert.ok(seen.grown > 200, `heads that grew: ${seen.grown}`);
  assert.deepEqual([...seen.statuses].sort(), [200, 400, 403, 404, 409, 422]);
});

interface TreeModel {
  leaves: Uint8Array[];
  saved: { readonly state: FrontierState; readonly count: number }[];
}

/** A tree as a store keeps it: its edge, and the tiles that it has written. */
interface Store {
  frontier: Frontier;
  readonly nodes: Map<string, Uint8Array>;
  readonly tiles: Map<string, Uint8Array>;
}

function readerOfTiles(store: Store, size: number) {
  return hashReaderFromTiles(size, (level, index, width) => {
    return store.tiles.get(`${level}/${index}/${width}`) ?? assert.fail(`no tile ${level}/${index}/${width}`);
  });
}

type TreeStep = fc.Command<TreeModel, Store>;

let named = 0;

const append = (count: number): TreeStep => ({
  check: ({ leaves }) => leaves.length + count <= 600,
  run(model, store) {
    const before = model.leaves.length;
    for (let i = 0; i < count; i++) {
      const leaf = leafOf(`node ${named++}`);
      model.leaves.push(leaf);
      store.frontier.append(leaf, (level, index, hash) => store.nodes.set(`${level}/${index}`, hash));
    }
    for (const { level, index, width } of newTiles(before, model.leaves.length)) {
      const hashes = Array.from(
        { length: width },
        (_, i) => store.nodes.get(`${8 * level}/${256 * index + i}`)!,
      );
      store.tiles.set(`${level}/${index}/${width}`, new Uint8Array(Buffer.concat(hashes)));
    }
    assert.equal(store.frontier.size, model.leaves.length);
    assert.equal(toHex(store.frontier.root()), toHex(naiveRoot(model.leaves)));
  },
  toString: () => `append(${count})`,
});

const save: TreeStep = {
  check: () => true,
  run(model, { frontier }) {
    model.saved.push({ state: { size: frontier.size, hashes: frontier.hashes }, count: model.leaves.length });
  },
  toString: () => 'save',
};

/** As after a write that failed: the state before it counts, and what follows may differ. */
const restore = (which: number): TreeStep => ({
  check: ({ saved }) => saved.length > 0,
  run(model, store) {
    const { state, count } = model.saved[which % model.saved.length]!;
    model.leaves = model.leaves.slice(0, count);
    model.saved = model.saved.filter((one) => one.count <= count);
    store.frontier = createFrontier(state);
    assert.equal(toHex(store.frontier.root()), toHex(naiveRoot(model.leaves)));
  },
  toString: () => `restore(${which})`,
});

const prove = (a: number, b: number): TreeStep => ({
  check: ({ leaves }) => leaves.length > 0,
  run({ leaves }, store) {
    const size = leaves.length;
    const index = a % size;
    const old = 1 + (b % size);
    const reader = readerOfTiles(store, size);
    const root = naiveRoot(leaves);
    const proof = inclusionProofSync(index, size, reader);
    assert.deepEqual(proof.map(toHex), naivePath(index, leaves).map(toHex));
    assert.ok(verifyInclusion(leaves[index]!, index, size, proof, root));
    const growth = consistencyProofSync(old, size, reader);
    assert.deepEqual(growth.map(toHex), naiveProof(old, leaves).map(toHex));
    assert.ok(verifyConsistency(old, size, growth, naiveRoot(leaves.slice(0, old)), root));
    const indexes = [...new Set([index, old - 1, (a + b) % size])].sort((one, two) => one - two);
    const many = readProofSync(planMultiproof(indexes, size), reader);
    const rebuilt = rootFromMultiproof(
      indexes,
      indexes.map((i) => leaves[i]!),
      size,
      many,
    );
    assert.ok('root' in rebuilt && toHex(rebuilt.root) === toHex(root));
  },
  toString: () => `prove(${a}, ${b})`,
});

test('a tree that grows, goes back and grows otherwise is the tree of its leaves', () => {
  const steps = fc.commands(
    [
      ...[fc.integer({ min: 1, max: 9 }).map(append), fc.integer({ min: 60, max: 300 }).map(append)],
      fc.constant(save),
      fc.nat(20).map(restore),
      fc.tuple(fc.nat(), fc.nat()).map(([a, b]) => prove(a, b)),
    ],
    { maxCommands: 30, size: 'max' },
  );
  fc.assert(
    fc.property(steps, (commands) => {
      fc.modelRun(
        () => ({
          model: { leaves: [], saved: [] },
          real: { frontier: createFrontier(), nodes: new Map(), tiles: new Map() },
        }),
        commands,
      );
    }),
    { numRuns: 40 },
  );
  assert.equal(toHex(createFrontier().root()), toHex(emptyRoot));
});
