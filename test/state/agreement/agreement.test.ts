import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Point } from '@noble/ed25519';
import { sha256 } from '#sha256';
import { toBase64, toHex } from '../../../runtime/core/encoding/base64.ts';
import { createNoteSigner, formatNote, parseNote, signNote } from '../../../runtime/core/log/note.ts';
import {
  type Agreement,
  originOf,
  readAgreement,
  signAgreement,
  unsignedBy,
} from '../../../runtime/state/agreement/agreement.ts';
import { endorse } from '../../../runtime/state/provenance/endorsement.ts';
import { PURPOSES } from '../../../runtime/state/provenance/keys.ts';
import { agreementOf, documentOf, gatewayKeys, memberKey, NAMES, signer, TERMS } from './document.ts';

/** The faults of a document, as `path: message`. */
function faultsOf(text: string): string[] {
  const read = readAgreement(text, 'agreement.toml');
  assert.ok(!read.ok, 'the document is refused');
  for (const fault of read.faults) assert.equal(fault.file, 'agreement.toml');
  return read.faults.map(({ path, message }) => `${path}: ${message}`);
}

function assertFaults(text: string, ...expected: readonly RegExp[]): void {
  const found = faultsOf(text);
  for (const one of expected)
    assert.ok(
      found.some((fault) => one.test(fault)),
      `${one} in ${JSON.stringify(found)}`,
    );
  assert.equal(found.length, expected.length, JSON.stringify(found));
}

test('a document as the members write it', () => {
  const text = documentOf();
  const agreement = agreementOf(text);
  assert.equal(toHex(agreement.hash), toHex(sha256(new TextEncoder().encode(text))));
  assert.deepEqual(
    agreement.members.map(({ name }) => name),
    [...NAMES],
  );
  assert.deepEqual(
    agreement.gateways.map((gateway) => [gateway.member, gateway.name, gateway.host, gateway.port]),
    NAMES.map((name, index) => [name, `${name}-1`, '127.0.0.1', 7000 + index]),
  );
  for (const [index, gateway] of agreement.gateways.entries()) {
    const keys = gatewayKeys(index);
    assert.equal(toHex(gateway.identity), toHex(keys.identity.publicKey));
    for (const purpose of PURPOSES) {
      assert.equal(toHex(gateway.endorsement.publicKeys[purpose]), toHex(keys[purpose].publicKey));
    }
  }
  assert.equal(originOf(agreement, agreement.gateways[1]!), 'spindles/plant/plant-1');
  assert.notEqual(toHex(agreementOf(`${text}\n`).hash), toHex(agreement.hash), 'every byte counts');
});

test('all faults of the terms at once, each with its line', () => {
  const text = documentOf(
    undefined,
    TERMS.replace('window = 30', 'window = 1\nwindows = 3')
      .replace('"relu"', '"swish"')
      .replace('delta = 1e-5', 'delta = 1')
      .replace('minimum_batch = 3', 'minimum_batch = 2')
      .replace('interval = "1s"\nphase', 'interval = 5\nphase'),
  );
  const read = readAgreement(text, 'agreement.toml');
  assert.ok(!read.ok);
  const lines = text.split('\n');
  const found = read.faults.map(({ line, path }) => `${path} | ${lines[line - 1]}`);
  assert.deepEqual(found, [
    'learning.window | window = 1',
    'learning.windows | windows = 3',
    'learning.activation | activation = "swish"',
    'privacy.delta | delta = 1',
    'federation.minimum_batch | minimum_batch = 2',
    'federation.interval | interval = 5',
  ]);
  for (const fault of read.faults) assert.ok(fault.message.length > 0);
});

test('what does not go together is refused', () => {
  assertFaults(
    documentOf(undefined, TERMS.replace('unit = "window"', 'unit = "none"')),
    /privacy: a budget has no meaning/,
  );
  const without = TERMS.slice(0, TERMS.indexOf('[privacy]')) + TERMS.slice(TERMS.indexOf('[federation]'));
  assertFaults(documentOf(undefined, without), /privacy: a budget is needed when the unit is window/);
  assertFaults(
    documentOf(undefined, TERMS.replace('minimum_batch = 3', 'minimum_batch = 4')),
    /only 3 members/,
  );
  assertFaults(
    documentOf(undefined, TERMS.replace('cap = 125', 'cap = 125\ninputs = ["load", "heat"]')),
    /no channel is called heat/,
  );
  assertFaults(documentOf(undefined, TERMS.replace('low = 0.0', 'low = 11.0')), /low is above high/);
  assertFaults(
    documentOf((cards) => cards.pop()),
    /only 2 members/,
    /^member: a list is too short/,
  );
});

test('all faults of the members’ keys at once', () => {
  const torsion = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a');
  const text = documentOf((cards) => {
    cards[0]!.key = toBase64(torsion.toBytes());
    cards[1]!.endorsement = cards[2]!.endorsement;
    cards[2]!.identity = toBase64(Point.fromBytes(signer(9).publicKey).add(torsion).toBytes());
  });
  assertFaults(
    text,
    /^member\[0\]\.key: key of member builder: a point of small order/,
    /^member\[1\]\.gateway\[0\]: endorsement: not signed by the identity key/,
    /^member\[2\]\.gateway\[0\]: identity key: not of the prime-order subgroup/,
  );
});

test('an endorsement for another gateway or another member is refused', () => {
  const wrong = (member: string, gateway: string) =>
    documentOf((cards) => {
      cards[1]!.endorsement = toBase64(endorse(gatewayKeys(1), member, gateway, 0));
    });
  assertFaults(
    wrong('plant', 'plant-2'),
    /the endorsement is for gateway plant-2 of plant, not for plant-1 of plant/,
  );
  assertFaults(wrong('builder', 'plant-1'), /for gateway plant-1 of builder, not for plant-1 of plant/);
  agreementOf(wrong('plant', 'plant-1'));
});

test('an endorsement with any bit changed is refused', () => {
  const bytes = endorse(gatewayKeys(1), 'plant', 'plant-1', 0);
  for (let byte = 0; byte < bytes.length; byte += 3) {
    const changed = bytes.slice();
    changed[byte]! ^= 1 << (byte & 7);
    const text = documentOf((cards) => {
      cards[1]!.endorsement = toBase64(changed);
    });
    assertFaults(text, /^member\[1\]\.gateway\[0\]: /);
  }
});

test('names and keys stand there once', () => {
  assertFaults(
    documentOf((cards) => {
      cards[1]!.name = 'builder';
      cards[1]!.endorsement = toBase64(endorse(gatewayKeys(1), 'builder', 'plant-1', 0));
    }),
    /^member: builder stands there twice/,
  );
  assertFaults(
    documentOf((cards) => {
      cards[1]!.gateway = 'builder-1';
      cards[1]!.endorsement = toBase64(endorse(gatewayKeys(1), 'plant', 'builder-1', 0));
    }),
    /^member\.gateway: builder-1 stands there twice/,
  );
  // A member that calls another's key its own would be taken for the other.
  for (const purpose of PURPOSES) {
    assertFaults(
      documentOf((cards) => {
        const stolen = { ...gatewayKeys(1), [purpose]: gatewayKeys(0)[purpose] };
        cards[1]!.endorsement = toBase64(endorse(stolen, 'plant', 'plant-1', 0));
      }),
      /key .* stands there twice/,
    );
  }
  assertFaults(
    documentOf((cards) => {
      cards[1]!.key = cards[0]!.key;
    }),
    /key .* stands there twice/,
  );
});

function signedBy(agreement: Agreement, ...indices: readonly number[]): string {
  let note: string | undefined;
  for (const index of indices) note = signAgreement(agreement, note, memberKey(index));
  return note!;
}

test('signatures come one by one, in any order; who is missing is told', () => {
  const agreement = agreementOf();
  assert.deepEqual(unsignedBy(agreement, signedBy(agreement, 1)), ['builder', 'institute']);
  assert.deepEqual(unsignedBy(agreement, signedBy(agreement, 2, 0)), ['plant']);
  assert.deepEqual(unsignedBy(agreement, signedBy(agreement, 2, 0, 1)), []);
  assert.deepEqual(unsignedBy(agreement, signedBy(agreement, 0, 0)), ['plant', 'institute'], 'twice is once');
});

test('only members sign, with their own key', () => {
  const agreement = agreementOf();
  assert.throws(() => signAgreement(agreement, undefined, signer(99)), /belongs to no member/);
  assert.throws(() => signAgreement(agreement, undefined, gatewayKeys(0).identity), /belongs to no member/);
});

test('signatures of another document are refused, by signing and by checking', () => {
  const agreement = agreementOf();
  const others = [
    agreementOf(documentOf().replace('cap = 125', 'cap = 126')),
    agreementOf(documentOf().replace('epoch = 1', 'epoch = 2')),
    agreementOf(documentOf().replace('"spindles"', '"presses"')),
  ];
  for (const other of others) {
    const note = signedBy(other, 0, 1, 2);
    assert.throws(() => unsignedBy(agreement, note), /for another document/);
    assert.throws(() => signAgreement(agreement, note, memberKey(0)), /for another document/);
    // Its signatures under our text prove nothing either.
    const moved = formatNote({ ...parseNote(note), text: parseNote(signedBy(agreement, 0)).text });
    assert.throws(() => assert.deepEqual(unsignedBy(agreement, moved), []));
  }
});

test('a forged signature is an error that names the member, not a missing one', () => {
  const agreement = agreementOf();
  const note = parseNote(signedBy(agreement, 0, 1, 2));
  for (const [index, name] of NAMES.entries()) {
    const signatures = note.signatures.map((signature, at) =>
      at === index ? { ...signature, signature: signature.signature.map((byte) => byte ^ 1) } : signature,
    );
    assert.throws(
      () => unsignedBy(agreement, formatNote({ ...note, signatures })),
      new RegExp(`${name} is wrong`),
    );
  }
});

test('a stranger’s signature under a member’s name does not count', () => {
  const agreement = agreementOf();
  const { text } = parseNote(signedBy(agreement, 0));
  const stranger = signNote(text, [createNoteSigner('spindles/plant', signer(77))]);
  const note = formatNote({
    text,
    signatures: [...parseNote(signedBy(agreement, 0)).signatures, ...stranger.signatures],
  });
  assert.deepEqual(unsignedBy(agreement, note), ['plant', 'institute']);
});

test('what is no note is refused', () => {
  const agreement = agreementOf();
  const note = signedBy(agreement, 0, 1, 2);
  for (const text of [
    '',
    'nothing',
    note.slice(0, -1),
    note.replace('\n\n', '\n'),
    `${note}\n`,
    documentOf(),
  ]) {
    assert.throws(() => unsignedBy(agreement, text), Error, JSON.stringify(text.slice(-20)));
  }
});
