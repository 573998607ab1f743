import assert from 'node:assert/strict';
import { test } from 'node:test';
import { telemetrySettings } from '../../../runtime/services/telemetry/settings.ts';
import { readSettings } from '../../../runtime/state/settings/read.ts';

function faultsOf(text: string): string {
  const judged = readSettings(text, 'gateway.toml', telemetrySettings);
  return judged.ok
    ? ''
    : judged.faults.map((fault) => `${fault.line} ${fault.path}: ${fault.message}`).join('\n');
}

test('nothing at all is a valid setting, with defaults', () => {
  const settings = telemetrySettings.parse({});
  assert.equal(settings.url, undefined);
  assert.equal(settings.embedded, undefined);
  assert.equal(settings.maxInflight, 256);
  assert.equal(settings.reconnectLimit, 60_000);
});

test('a full configuration is understood', () => {
  const text = `
url = "mqtts://broker.example:8883"
username = "gateway"
password_file = "/etc/kosmos/mqtt-password"
ca_file = "/etc/kosmos/ca.pem"
client_id = "north"
keep_alive_seconds = 15
max_inflight = 10
[embedded]
listen = "127.0.0.1:0"
session_expiry = "2h"
`;
  const judged = readSettings(text, 'gateway.toml', telemetrySettings);
  assert.ok(judged.ok, faultsOf(text));
  assert.deepEqual(judged.value.embedded, {
    listen: { host: '127.0.0.1', port: 0 },
    maxClients: 32,
    maxSessions: 16,
    queueLimit: 1_000,
    sessionExpiry: 7_200_000,
  });
});

test('every key has a description', () => {
  for (const [key, piece] of Object.entries(telemetrySettings.shape)) assert.ok(piece.description, key);
});

const WRONG: readonly (readonly [string, RegExp])[] = [
  ['url = "http://broker"', /url/],
  ['url = "mqtt://user:secret@broker"', /use username and password_file/],
  ['passwd = "x"', /passwd/],
  ['password_file = "/x"', /needs a username/],
  ['url = "mqtt://a"\nca_file = "/x"', /mqtts/],
  ['keep_alive_seconds = 0', /keep_alive_seconds/],
  ['max_inflight = 0', /max_inflight/],
  ['reconnect_limit = 5', /reconnect_limit/],
  ['[embedded]\nlisten = "0.0.0.0:1883"', /loopback only/],
  ['[embedded]\nlisten = "127.0.0.1.example.com:1883"', /loopback only/],
  ['[embedded]', /listen/],
];

for (const [text, reason] of WRONG) {
  test(`refused: ${text.replaceAll('\n', ' ')}`, () => {
    assert.match(faultsOf(text), reason);
    assert.doesNotMatch(faultsOf(text), /secret/);
  });
}
