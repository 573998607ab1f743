import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { epsilonOf } from '../../../runtime/core/privacy/accountant.ts';
import {
  createDeposits,
  DEPOSIT,
  DEPOSITS,
  type Deposits,
  depositsNeeded,
} from '../../../runtime/services/federation/deposits.ts';
import { createParties, MAX_LEAP } from '../../../runtime/services/federation/parties.ts';
import { ordered } from '../../../runtime/state/journal/keys.ts';
import { createDepositBook } from '../../../runtime/state/ledger/deposits.ts';
import { ALL_TIME, type Budget, type Charge, openLedger } from '../../../runtime/state/ledger/ledger.ts';
import { type Consortium, createConsortium, temporaryDirectory } from '../consortium.ts';
import { openState } from '../gateway-state.ts';

type Test = Parameters<typeof temporaryDirectory>[0];

const BUDGET: Budget = { epsilon: 50, delta: 1e-5, unit: 'window' };
const MECHANISM = { samplingRate: 0.05, noiseMultiplier: 1.2, steps: 10 };

interface Net {
  readonly handlers: Map<string, Deposits>;
  readonly down: Set<string>;
  /** Answers in place of a gateway. */
  readonly instead: Map<string, (path: string) => { status: number; body: Uint8Array }>;
}

function chargeOf(consortium: Consortium, round: number): Charge {
  return { agreement: consortium.agreement.hash, round, unit: 'window', mechanism: MECHANISM, ...ALL_TIME };
}

async function gatewayOf(t: Test, consortium: Consortium, net: Net, name: string) {
  const { keys } = consortium.gateways.find((one) => one.name === name)!;
  const state = await openState(await temporaryDirectory(t), keys);
  t.after(() => state.journal.close());
  const parties = createParties(consortium.agreement, name);
  const memory = {
    round: 3,
    promised: () => memory.round,
    async promise(round: number) {
      memory.round = round;
    },
  };
  const ledger = await openLedger(state.journal, state.recorder, (entry) => deposits.deposit(entry));
  const deposits = createDeposits({
    parties,
    book: createDepositBook(state.journal),
    memory,
    ledger,
    async request(peer, path, body) {
      if (net.down.has(peer)) throw new Error(`${peer} is down`);
      const made = net.instead.get(peer)?.(path);
      return made ?? (await net.handlers.get(peer)!.handle(name, path, body)!);
    },
    limitMs: 400,
    log: () => undefined,
  });
  net.handlers.set(name, deposits);
  return { ...state, name, parties, memory, ledger, deposits, keys };
}

type Gateway = Awaited<ReturnType<typeof gatewayOf>>;

async function all(t: Test, fleets: readonly number[]) {
  const consortium = createConsortium({ fleets });
  const net: Net = { handlers: new Map(), down: new Set(), instead: new Map() };
  const gateways: Gateway[] = [];
  for (const { name } of consortium.gateways) gateways.push(await gatewayOf(t, consortium, net, name));
  return { consortium, net, gateways };
}

test('a charge lies with q - 1 other members before it counts as paid, whoever is away', async (t) => {
  const { consortium, net, gateways } = await all(t, [1, 2, 1, 1]);
  const [own, first, second, ...rest] = gateways as unknown as [Gateway, Gateway, Gateway, Gateway, Gateway];
  assert.equal(depositsNeeded(own.parties), 2);
  await own.ledger.charge(chargeOf(consortium, 1), BUDGET);

  // Both gateways of one company are one member.
  for (const { name } of rest) net.down.add(name);
  assert.equal(first.parties.byName(first.name)!.member, first.parties.byName(second.name)!.member);
  await assert.rejects(
    own.ledger.charge(chargeOf(consortium, 2), BUDGET),
    /with 1 other members, 2 must hold it/,
  );
  // It is charged all the same: nobody knows how far it got.
  assert.equal(own.ledger.charges().length, 2);
  net.down.delete(rest[0].name);
  await own.ledger.charge(chargeOf(consortium, 3), BUDGET);
});

test('a restored ledger gets back what was charged since, once, and no refund', async (t) => {
  const { consortium, net, gateways } = await all(t, [1, 1, 1]);
  const [own, first, second] = gateways as [Gateway, Gateway, Gateway];
  // Twice the same: a round whose training was begun again after a crash.
  for (const round of [1, 2, 2, 4]) await own.ledger.charge(chargeOf(consortium, round), BUDGET);
  first.memory.round = 9;

  const restored = await gatewayOf(t, consortium, net, own.name);
  assert.equal(restored.ledger.charges().length, 0);
  for (let again = 0; again < 2; again++) {
    await restored.deposits.learn(first.name);
    await restored.deposits.learn(second.name);
    await restored.deposits.settle();
    assert.deepEqual(
      restored.ledger.charges().map(({ round }) => round),
      [1, 2, 2, 4],
    );
  }
  const steps = MECHANISM.steps * 4;
  assert.equal(
    restored.ledger.spent('window', BUDGET.delta),
    epsilonOf([{ ...MECHANISM, steps }], BUDGET.delta),
  );
  assert.ok(restored.memory.promised() > 9, 'it takes part in no round that it may have been in');
  // Durably, and where numbers go on.
  const reopened = await openLedger(restored.journal, restored.recorder);
  assert.equal(reopened.charges().length, 4);

  // Had it some of them, it gets the others; one that it alone has stays.
  const partly = await gatewayOf(t, consortium, net, own.name);
  for (const round of [2, 7]) await partly.ledger.adopt([chargeOf(consortium, round)]);
  await partly.deposits.learn(first.name);
  await partly.deposits.settle();
  assert.deepEqual(
    partly.ledger
      .charges()
      .map(({ round }) => round)
      .sort(),
    [1, 2, 2, 4, 7],
  );
});

test('who goes on from an older copy unnoticed finds its charges refused', async (t) => {
  const { consortium, net, gateways } = await all(t, [1, 1, 1]);
  const [own] = gateways as [Gateway, Gateway, Gateway];
  for (const round of [1, 2, 3]) await own.ledger.charge(chargeOf(consortium, round), BUDGET);
  const older = await gatewayOf(t, consortium, net, own.name);
  await assert.rejects(
    older.ledger.charge(chargeOf(consortium, 4), BUDGET),
    /does its owner go on from an older copy/,
  );
});

test('what is no charge of the sender is refused; the same one twice is one', async (t) => {
  const { consortium, gateways } = await all(t, [1, 1, 1]);
  const [own, first] = gateways as [Gateway, Gateway, Gateway];
  const entry = await own.recorder.entry('charge', [
    consortium.agreement.hash,
    1,
    'window',
    { float: 0.1 },
    { float: 1 },
    3,
    0,
    1000,
  ]);
  const send = async (from: string, body: Uint8Array) => {
    const { status, body: text } = (await first.deposits.handle(from, DEPOSIT, body))!;
    return `${status} ${new TextDecoder().decode(text)}`;
  };
  assert.equal(await send(own.name, entry), '200 ');
  assert.equal(await send(own.name, entry), '200 ');
  assert.match(await send('gateway-2', entry), /^409 deposit: not signed by its owner/);
  assert.match(await send('nobody', entry), /^409 nobody is no gateway/);
  const start = await own.recorder.entry('start', ['x']);
  assert.match(await send(own.name, start), /^409 deposit: a start entry is no charge/);
  const flipped = entry.map((byte, index) => (index === entry.length - 1 ? byte ^ 1 : byte));
  assert.match(await send(own.name, flipped), /^409 deposit: not signed/);
  assert.match(await send(own.name, new Uint8Array(5000)), /^409 deposit: 5000 bytes are too many/);
  const { body } = (await first.deposits.handle(own.name, DEPOSITS, encodeCbor([''])))!;
  assert.ok(Buffer.from(body).includes(Buffer.from(entry)));
  assert.equal(first.deposits.handle(own.name, '/other', entry), undefined);
});

test('a peer that lies about rounds takes no more than a leap, one that makes up charges is not heard', async (t) => {
  const { consortium, net, gateways } = await all(t, [1, 1, 1]);
  const [own, first, second] = gateways as [Gateway, Gateway, Gateway];
  const answer = (fields: Parameters<typeof encodeCbor>[0]) => () => ({
    status: 200,
    body: encodeCbor(fields),
  });
  net.instead.set(first.name, answer([Number.MAX_SAFE_INTEGER, [], null]));
  await own.deposits.learn(first.name);
  await own.deposits.settle();
  assert.equal(own.memory.promised(), 3 + MAX_LEAP + 1);
  const theirs = await second.recorder.entry('charge', [
    consortium.agreement.hash,
    1,
    'window',
    { float: 0.1 },
    { float: 1 },
    3,
    0,
    1000,
  ]);
  net.instead.set(first.name, answer([0, [theirs], null]));
  await assert.rejects(own.deposits.learn(first.name), /not signed by its owner/);
  net.instead.set(first.name, answer([0, [], '']));
  await assert.rejects(own.deposits.learn(first.name), /in no order/);
  net.instead.set(first.name, () => ({ status: 503, body: new Uint8Array(0) }));
  await assert.rejects(own.deposits.learn(first.name), /status 503/);
  assert.equal(own.ledger.charges().length, 0);
});

test('more charges than one message holds come in several', async (t) => {
  const { gateways } = await all(t, [1, 1, 1]);
  const [own, first] = gateways as [Gateway, Gateway, Gateway];
  const section = first.journal.section('deposit');
  const values = Array.from({ length: 1000 }, (_, index) => new Uint8Array(600).fill(index & 255));
  await first.journal.write(
    values.map((value, index) => section.put(`${own.name}/${ordered(0)}${ordered(index)}`, value)),
  );
  await first.journal.write([section.put(`${own.name}-1/${ordered(0)}${ordered(0)}`, new Uint8Array(3))]);
  const book = createDepositBook(first.journal);
  const found: Uint8Array[] = [];
  let pages = 0;
  for (let after: string | undefined = ''; after !== undefined; pages++) {
    const page: Awaited<ReturnType<typeof book.page>> = await book.page(own.name, after);
    found.push(...page.entries);
    after = page.next;
  }
  assert.ok(pages > 1);
  assert.deepEqual(found, values);
});
