import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gatewaySettings } from '../../../runtime/settings.ts';
import { documentSettings } from '../../../runtime/state/settings/document.ts';
import { formatFaults } from '../../../runtime/state/settings/format.ts';
import { readSettings } from '../../../runtime/state/settings/read.ts';

const FILE = fileURLToPath(new URL('../../../config/gateway.toml', import.meta.url));

function faultsIn(text: string): string {
  const judged = readSettings(text, FILE, gatewaySettings);
  return judged.ok ? '' : formatFaults(judged.faults);
}

test('the example configuration is taken, with and without what it comments out', () => {
  const text = readFileSync(FILE, 'utf8');
  assert.equal(faultsIn(text), '');
  assert.equal(faultsIn(text.replaceAll(/^#(?=[[a-z])/gm, '')), '');
});

test('the documentation names every part of a gateway', () => {
  const text = documentSettings(gatewaySettings);
  for (const header of [
    '[gateway]',
    '[journal]',
    '[peering]',
    '[telemetry.embedded]',
    '[training]',
    '[[machine.stream]]',
  ]) {
    assert.ok(text.split('\n').includes(`#${header}`), header);
  }
});
