import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Point } from '@noble/ed25519';
import fc from 'fast-check';
import type { Signer } from '#ed25519';
import { toHex } from '../../../runtime/core/encoding/base64.ts';
import { encodeCbor } from '../../../runtime/core/encoding/cbor.ts';
import { createSign1Signer } from '../../../runtime/core/encoding/cose.ts';
import { KIND } from '../../../runtime/core/encoding/kind.ts';
import { endorse } from '../../../runtime/state/provenance/endorsement.ts';
import { PURPOSES } from '../../../runtime/state/provenance/purposes.ts';
import { revoke } from '../../../runtime/state/provenance/revocation.ts';
import {
  isClonedIdentity,
  openRoster,
  ownKeysFault,
  type Roster,
  rosterOf,
} from '../../../runtime/state/provenance/roster.ts';
import { opened, temporary } from '../journal/helpers.ts';
import { endorsed, enrolmentOfAll, GATEWAYS, keyOf, keysOf, memberKey, revoked } from './rosters.ts';

const enrolment = enrolmentOfAll();
const serials = (roster: Roster, gateway: string) => roster.history(gateway).map(({ serial }) => serial);

test('the agreement pins the first endorsement; the highest serial is in force', async () => {
  const roster = rosterOf(enrolment);
  assert.equal(roster.current('mill').serial, 0);
  assert.deepEqual(roster.statements(), []);
  assert.equal(await roster.add(endorsed('mill', 1)), 'new');
  assert.equal(await roster.add(endorsed('mill', 1)), 'known');
  assert.equal(await roster.add(endorsed('mill', 3)), 'new');
  // One that was missed on the way comes later: its keys have signed things too.
  assert.equal(await roster.add(endorsed('mill', 2)), 'new');
  assert.equal(await roster.add(endorsed('mill', 0, 0, 1000)), 'known', 'the pinned one');
  assert.deepEqual(serials(roster, 'mill'), [0, 1, 2, 3]);
  assert.equal(toHex(roster.current('mill').publicKeys.log), toHex(keysOf('mill', 3).log.publicKey));
  assert.deepEqual(serials(roster, 'lathe'), [0]);
  assert.equal(roster.statements().length, 3);
  assert.throws(() => roster.current('nowhere'), /no gateway .* nowhere/);
});

test('whatever order statements come in, rosters that hold the same agree', () => {
  const all = [
    endorsed('mill', 1),
    endorsed('mill', 2),
    endorsed('lathe', 1),
    revoked('mill', 'sample', 1, 5000),
    revoked('mill', 'sample', 2, 4000, 'member'),
    revoked('hall-1', 'identity', 0, 9000, 'member'),
    endorsed('hall-1', 4),
  ];
  const known = (roster: Roster) =>
    GATEWAYS.map(([, name]) => [
      roster.history(name).map(({ statement }) => toHex(statement)),
      roster
        .revocations(name)
        .map(({ statement }) => toHex(statement))
        .sort(),
    ]);
  const expected = known(rosterOf(enrolment, all));
  fc.assert(
    fc.property(fc.shuffledSubarray(all, { minLength: all.length }), (order) => {
      assert.deepEqual(known(rosterOf(enrolment, order)), expected);
    }),
    { numRuns: 20 },
  );
});

test('two endorsements of one serial with different keys are told as a cloned identity, with both as evidence', async () => {
  const roster = rosterOf(enrolment, [endorsed('mill', 1)]);
  const other = endorsed('mill', 2, 1);
  await assert.rejects(roster.add(other), (error: Error) => {
    assert.ok(isClonedIdentity(error));
    assert.equal(error.gateway, 'mill');
    assert.deepEqual(error.statements.map(toHex), [endorsed('mill', 1), other].map(toHex));
    assert.match(error.message, /in two hands/);
    return true;
  });
  await assert.rejects(
    roster.add(endorsed('mill', 7, 0)),
    isClonedIdentity,
    'nor may the pinned one be replaced',
  );
  await assert.rejects(roster.add(endorsed('mill', 1, 1, 3000)), /another time/);
  assert.deepEqual(serials(roster, 'mill'), [0, 1]);
});

test('statements of others than the identity and the member are refused', async () => {
  const roster = rosterOf(enrolment);
  const mill = keysOf('mill', 1);
  const refused: readonly (readonly [Uint8Array, RegExp])[] = [
    [
      endorse({ ...mill, identity: keysOf('lathe').identity }, 'bolt', 'mill', 0, 1),
      /not signed by the identity/,
    ],
    [endorse({ ...mill, identity: memberKey('bolt') }, 'bolt', 'mill', 0, 1), /not signed by the identity/],
    [endorse({ ...mill, identity: mill.sample }, 'bolt', 'mill', 0, 1), /not signed by the identity/],
    [endorse(mill, 'acme', 'mill', 0, 1), /no gateway mill of acme/],
    [endorse(mill, 'bolt', 'nowhere', 0, 1), /no gateway nowhere of bolt/],
    [
      revoke(memberKey('acme'), {
        ...{ member: 'bolt', gateway: 'mill', purpose: 'log', time: 1, reason: '' },
        key: keysOf('mill').log.publicKey,
      }),
      /neither by the gateway's identity key nor by its member's/,
    ],
    [
      revoke(memberKey('bolt'), {
        ...{ member: 'bolt', gateway: 'mill', purpose: 'identity', time: 1, reason: '' },
        key: keysOf('lathe').identity.publicKey,
      }),
      /another identity key/,
    ],
    [
      createSign1Signer(mill.identity).sign(encodeCbor([KIND.start, 1])),
      /neither an endorsement nor a revocation/,
    ],
    [new Uint8Array(3000), /3000 bytes, at most 2048/],
    [Uint8Array.of(1, 2, 3), /./],
    [new Uint8Array(0), /./],
  ];
  for (const [statement, why] of refused) await assert.rejects(roster.add(statement), why);
  const good = endorsed('mill', 1);
  for (let byte = 0; byte < good.length; byte += 7) {
    const changed = good.slice();
    changed[byte]! ^= 1 << (byte & 7);
    await assert.rejects(roster.add(changed), Error, `byte ${byte}`);
  }
  assert.deepEqual(roster.statements(), []);
});

test('enrolment refuses small-order and mixed-order keys, whoever signs for them', async () => {
  const roster = rosterOf(enrolment);
  const torsion = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a');
  const mixed = Point.fromBytes(keyOf('any').publicKey).add(torsion).toBytes();
  for (const purpose of PURPOSES) {
    for (const [publicKey, why] of [
      [torsion.toBytes(), /small order/],
      [new Uint8Array(32).fill(0).fill(1, 0, 1), /small order/],
      [mixed, /prime-order subgroup/],
    ] as const) {
      const keys = { ...keysOf('mill', 1), [purpose]: { publicKey, sign: () => new Uint8Array(64) } };
      await assert.rejects(roster.add(endorse(keys, 'bolt', 'mill', 0, 1)), why);
    }
  }
  assert.equal(roster.current('mill').serial, 0);
});

test('a key has one owner and one purpose, for ever', async () => {
  const roster = rosterOf(enrolment, [endorsed('lathe', 1)]);
  const keys = keysOf('mill', 1);
  const taken: readonly (readonly [string, Signer])[] = [
    ['log of hall-1', keysOf('hall-1').log],
    ['log of lathe', keysOf('lathe', 1).log],
    ['log of lathe', keysOf('lathe', 0).log],
    ['identity of hall-2', keysOf('hall-2').identity],
    ['identity of mill', keys.identity],
    ['member cog', memberKey('cog')],
    ['member bolt', memberKey('bolt')],
    ['sample of mill', keysOf('mill', 0).sample],
    ['witness of mill', keys.witness],
  ];
  for (const [owner, log] of taken) {
    await assert.rejects(
      roster.add(endorse({ ...keys, log }, 'bolt', 'mill', 0, 1)),
      (error: Error) => error.message.includes(`is or was the key of: ${owner}`),
      owner,
    );
  }
  // A key that stays what it is may be endorsed again.
  await roster.add(endorse({ ...keys, log: keysOf('mill').log }, 'bolt', 'mill', 0, 1));
  assert.equal(roster.current('mill').serial, 1);
});

test('a far future is warned of, and taken in', async () => {
  const warnings: string[] = [];
  const roster = await openRoster(enrolment, {
    now: () => 10_000,
    warn: (message) => warnings.push(message),
  });
  await roster.add(endorsed('mill', 1, 1, 10_000 + 3600_000));
  assert.deepEqual(warnings, []);
  await roster.add(endorsed('mill', 2, 2, 10_000 + 10 * 24 * 3600_000));
  await roster.add(revoked('mill', 'log', 1, Number.MAX_SAFE_INTEGER));
  assert.equal(roster.current('mill').serial, 2);
  assert.equal(warnings.length, 2);
  for (const warning of warnings) assert.match(warning, /is a clock wrong/);
});

test('what is added is durable when it is added, and there after a restart', async (t) => {
  const directory = await temporary(t);
  const journal = await opened(t, {}, directory);
  const storage = { section: journal.section('roster'), write: journal.write };
  const roster = await openRoster(enrolment, { storage });
  const heard: string[] = [];
  const off = roster.onChange((gateway) => heard.push(gateway));
  const outcomes = await Promise.all([
    roster.add(endorsed('mill', 1)),
    roster.add(endorsed('mill', 1)),
    roster.add(endorsed('lathe', 1)),
    roster.add(revoked('mill', 'log', 0, 7)),
  ]);
  assert.deepEqual(outcomes, ['new', 'known', 'new', 'new']);
  off();
  await roster.add(endorsed('mill', 2));
  assert.deepEqual(heard, ['mill', 'lathe', 'mill']);
  const again = await openRoster(enrolment, { storage });
  assert.deepEqual(again.statements().map(toHex), roster.statements().map(toHex));
  assert.deepEqual(serials(again, 'mill'), [0, 1, 2]);
  assert.equal(again.revocations('mill').length, 1);
  // What is added then does not take the place of what is there.
  await again.add(endorsed('mill', 3));
  assert.equal((await openRoster(enrolment, { storage })).statements().length, 5);
});

test('two clones added at once: one is taken, and nothing is stored of the other', async (t) => {
  const journal = await opened(t);
  const storage = { section: journal.section('roster'), write: journal.write };
  const roster = await openRoster(enrolment, { storage });
  const outcomes = await Promise.allSettled([
    roster.add(endorsed('mill', 1)),
    roster.add(endorsed('mill', 2, 1)),
  ]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  );
  assert.equal((await openRoster(enrolment, { storage })).statements().length, 1);
});

test('a write that fails leaves the roster as it was', async (t) => {
  const journal = await opened(t);
  let full = false;
  const storage = {
    section: journal.section('roster'),
    write: async (writes: Parameters<typeof journal.write>[0]) => {
      if (full) throw new Error('the disk is full');
      await journal.write(writes);
    },
  };
  const roster = await openRoster(enrolment, { storage });
  full = true;
  await assert.rejects(roster.add(endorsed('mill', 1)), /the disk is full/);
  assert.equal(roster.current('mill').serial, 0);
  assert.deepEqual(roster.statements(), []);
});

test('stored statements of a gateway that has left are passed over; given ones are not', async (t) => {
  const journal = await opened(t);
  const storage = { section: journal.section('roster'), write: journal.write };
  const before = await openRoster(enrolment, { storage });
  await before.add(endorsed('mill', 1));
  await before.add(endorsed('lathe', 1));
  const without = {
    ...enrolment,
    gateways: enrolment.gateways.filter(({ name }) => name !== 'mill'),
  };
  const warnings: string[] = [];
  const after = await openRoster(without, { storage, warn: (message) => warnings.push(message) });
  assert.deepEqual(serials(after, 'lathe'), [0, 1]);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /no gateway mill of bolt/);
  assert.throws(() => rosterOf(without, [endorsed('mill', 1)]), /no gateway mill of bolt/);
});

test('an epoch that pins newer keys forgets none of the older ones', async (t) => {
  const journal = await opened(t);
  const storage = { section: journal.section('roster'), write: journal.write };
  const first = await openRoster(enrolment, { storage });
  for (const serial of [1, 2]) await first.add(endorsed('mill', serial));
  const epoch = {
    ...enrolment,
    gateways: enrolment.gateways.map((gateway) => ({ ...gateway, endorsement: first.current(gateway.name) })),
  };
  const second = await openRoster(epoch, { storage });
  assert.deepEqual(serials(second, 'mill'), [0, 1, 2]);
  assert.equal(second.current('mill').serial, 2);
  // A newcomer, who has the new agreement alone, learns the rest.
  const newcomer = rosterOf(epoch, second.statements());
  assert.deepEqual(serials(newcomer, 'mill'), [0, 1, 2]);
  assert.deepEqual((await openRoster(epoch, { storage })).statements(), second.statements());
});

test('a gateway whose own keys are not the newest, or are revoked, is told what to do', () => {
  const roster = rosterOf(enrolment, [endorsed('mill', 1)]);
  const fault = (statements: readonly Uint8Array[], generation: number) =>
    ownKeysFault(rosterOf(enrolment, statements), 'mill', keysOf('mill', generation)) ?? '';
  assert.equal(ownKeysFault(roster, 'mill', keysOf('mill', 1)), undefined);
  const one = endorsed('mill', 1);
  assert.match(fault([one], 0), /rotated out.* --serial 2 --purpose sample --purpose log/);
  assert.match(fault([one], 5), /no endorsement names them/);
  assert.match(fault([one, revoked('mill', 'log', 1, 5)], 1), /for log are revoked: .* --purpose log$/);
  assert.equal(fault([one, revoked('mill', 'log', 0, 5)], 1), '', 'one that was rotated out');
  assert.match(fault([revoked('mill', 'identity', 0, 5, 'member')], 0), /identity key of mill is revoked/);
});
