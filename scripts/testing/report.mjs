import { Readable } from 'node:stream';
import { spec } from 'node:test/reporters';

/**
 * A reporter for node's test runner: its own `spec` report, then every skipped test with its reason, then
 * the runner's closing lines, which so stand at the very end.
 */
// biome-ignore lint/style/noDefaultExport: node's test runner takes a reporter from the default export
export default async function* report(source) {
  const skipped = [];
  const closing = [];
  async function* withoutClosing() {
    for await (const event of source) {
      const { data, type } = event;
      if (type === 'test:pass' && data.skip !== undefined && data.skip !== false) skipped.push(data);
      if (type === 'test:diagnostic' && data.nesting === 0 && isClosing(data.message))
        closing.push(data.message);
      else yield event;
    }
  }
  yield* Readable.from(withoutClosing()).pipe(new spec());

  yield '\n';
  for (const line of describeSkipped(skipped)) yield `${line}\n`;
  for (const message of closing) yield `ℹ ${message}\n`;
}

function isClosing(message) {
  return /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/.test(message);
}

function describeSkipped(skipped) {
  if (skipped.length === 0) return [];
  const byReason = new Map();
  for (const { name, skip } of skipped) {
    const reason = typeof skip === 'string' && skip !== '' ? skip : 'no reason given';
    byReason.set(reason, [...(byReason.get(reason) ?? []), name]);
  }
  const lines = [`${skipped.length} skipped:`];
  for (const [reason, names] of byReason) {
    lines.push(`  ${reason}`);
    for (const name of names) lines.push(`    - ${name}`);
  }
  return lines;
}
