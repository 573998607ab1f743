/** An agreement for tests: three members, and terms to change. */
import assert from 'node:assert/strict';
import { createSigner } from '#ed25519';
import { toBase64 } from '../../../runtime/core/encoding/base64.ts';
import { type Agreement, readAgreement } from '../../../runtime/state/agreement/agreement.ts';
import { endorse } from '../../../runtime/state/provenance/endorsement.ts';

export const NAMES = ['builder', 'plant', 'institute'] as const;

export const signer = (seed: number) => createSigner(new Uint8Array(32).fill(seed));
export const memberKey = (index: number) => signer(1 + index);

export function gatewayKeys(index: number) {
  const at = (offset: number) => signer(20 + 10 * index + offset);
  return { identity: at(0), sample: at(1), log: at(2), witness: at(3), tls: at(4) };
}

export interface Card {
  name: string;
  key: string;
  gateway: string;
  address: string;
  identity: string;
  endorsement: string;
}

export function cardOf(name: string, index: number): Card {
  const keys = gatewayKeys(index);
  return {
    name,
    key: toBase64(memberKey(index).publicKey),
    gateway: `${name}-1`,
    address: `127.0.0.1:${7000 + index}`,
    identity: toBase64(keys.identity.publicKey),
    endorsement: toBase64(endorse(keys, name, `${name}-1`, 1_700_000_000_000)),
  };
}

export const TERMS = `consortium = "spindles"
epoch = 1

[log]
checkpoint_interval = "1s"

[learning]
stream = "spindle"
window = 30
minimum = 10
slope_scale = 10.0
cap = 125
hidden = [32]
activation = "relu"

[training]
unit = "window"
clip_norm = 1.0
sampling_rate = 0.1
expected_batch = 100.0
steps_per_round = 5
minimum_episodes = 2
first_learning_rate = 0.01
last_learning_rate = 0.001
optimiser = { kind = "sgd", momentum = 0.9 }

[privacy]
epsilon = 8.0
delta = 1e-5
noise_multiplier = 1.1

[federation]
mode = "fedavg"
rounds = 20
minimum_batch = 3
committee = 3
update_bound = 1.0
fraction_bits = 24
interval = "1s"
phase_limit = "1m"

[[channel]]
name = "load"
unit = "A"
low = 0.0
high = 10.0
least_width = 1.0
`;

export function documentOf(change: (cards: Card[]) => void = () => undefined, terms = TERMS): string {
  const cards = NAMES.map(cardOf);
  change(cards);
  const members = cards.map(
    (card) => `
[[member]]
name = "${card.name}"
key = "${card.key}"
[[member.gateway]]
name = "${card.gateway}"
address = "${card.address}"
identity = "${card.identity}"
endorsement = "${card.endorsement}"
`,
  );
  return terms + members.join('');
}

export function agreementOf(text = documentOf()): Agreement {
  const read = readAgreement(text, 'agreement.toml');
  assert.ok(read.ok, JSON.stringify(read));
  return read.value;
}
