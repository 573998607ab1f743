/** What the parts of a gateway's configuration ask of each other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gatewaySettings } from '../../../runtime/settings.ts';
import { formatFaults } from '../../../runtime/state/settings/format.ts';
import { readSettings } from '../../../runtime/state/settings/read.ts';

const HEAD = `[gateway]
member = "acme"
name = "hall-1"
directory = "."

[journal]

[peering]
listen = "127.0.0.1:7400"

[simulation]
seed = 1
machines = 1
cycle = "1s"
`;

const STREAM = (lines: string) => `
[[machine]]
id = "press-1"
[[machine.stream]]
name = "monitor"
driver = "machine-monitor"
${lines}[machine.stream.settings]
bus = "sim:0"
`;

function faultsIn(text: string): string {
  const judged = readSettings(text, 'gateway.toml', gatewaySettings);
  return judged.ok ? '' : formatFaults(judged.faults);
}

test('a stream that keeps what is not published needs somebody to publish to', () => {
  const text = HEAD + STREAM('when_full = "drop-published"\n');
  const line = text.split('\n').indexOf('when_full = "drop-published"') + 1;
  const faults = faultsIn(text);
  assert.ok(faults.startsWith(`gateway.toml:${line}:`), faults);
  assert.match(faults, /machine\[0\]\.stream\[0\]\.when_full/);
  assert.match(
    faults,
    /give \[telemetry\] a url, add \[telemetry\.embedded\], or write "drop-oldest" or "stop"/,
  );
});

test('with a broker of either kind, or another rule, it is taken', () => {
  const stream = STREAM('when_full = "drop-published"\n');
  const url = '[telemetry]\nurl = "mqtt://127.0.0.1:1883"\n';
  const embedded = '[telemetry.embedded]\nlisten = "127.0.0.1:1883"\n';
  assert.equal(faultsIn(HEAD + url + stream), '');
  assert.equal(faultsIn(HEAD + embedded + stream), '');
  for (const rule of ['drop-oldest', 'stop'])
    assert.equal(faultsIn(HEAD + STREAM(`when_full = "${rule}"\n`)), '');
  assert.equal(faultsIn(HEAD + STREAM('')), '');
});

test('every stream that is at fault is named', () => {
  const fault = 'when_full = "drop-published"\n';
  const second = STREAM(fault).replace('press-1', 'press-2');
  const faults = faultsIn(HEAD + STREAM(fault) + second);
  assert.match(faults, /machine\[0\]/);
  assert.match(faults, /machine\[1\]/);
});
