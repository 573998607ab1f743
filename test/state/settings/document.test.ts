import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { documentSettings } from '../../../runtime/state/settings/document.ts';
import { readSettings } from '../../../runtime/state/settings/read.ts';
import { didYouMean } from '../../../runtime/state/settings/suggest.ts';
import { byteSize, duration, hostPort } from '../../../runtime/state/settings/units.ts';

const schema = z.object({
  journal: z
    .object({
      commitInterval: duration({ least: '1ms', most: '1m' })
        .describe('time between two commits')
        .default(1000),
      mostBytes: byteSize().default(2 * 2 ** 30),
      whenFull: z.enum(['drop_oldest', 'stop']).default('stop').describe('what becomes of new samples'),
    })
    .prefault({})
    .describe('the durable store'),
  peering: z.object({
    listen: hostPort({ anyPort: true }).default({ host: '::1', port: 7400 }),
    tags: z.array(z.string()).default(['a "b"', 'c']),
    extra: z.object({ maxRate: z.number().default(0.5) }).prefault({}),
    secret: z.string().optional(),
    pacing: z.union([z.literal('fast'), z.object({ intervalMs: z.number() })]).default('fast'),
  }),
});

const withTables = z.object({
  machine: z
    .array(
      z.object({
        name: z.string().min(1).describe('name of the machine'),
        stream: z.array(
          z.discriminatedUnion('driver', [
            z.object({ driver: z.literal('bme280'), bus: z.int().default(1) }),
            z.object({ driver: z.literal('replay'), directory: z.string() }),
          ]),
        ),
      }),
    )
    .default([]),
});

test('taking the # off writes every default out, and the reader takes it', () => {
  const text = documentSettings(schema, { title: 'Settings of a gateway' });
  const written = text.replaceAll(/^#(?! |$)/gm, '');
  assert.notEqual(written, text);
  const fromWritten = readSettings(written, 'doc.toml', schema);
  const fromNothing = readSettings('[peering]', 'doc.toml', schema);
  assert.ok(fromWritten.ok, JSON.stringify(fromWritten));
  assert.deepEqual(fromWritten, fromNothing);
});

test('each key stands with its words, limits and default', () => {
  const text = documentSettings(schema);
  assert.match(text, /# The durable store\.\n#\[journal\]/);
  assert.match(
    text,
    /# Time between two commits\.\n# Allowed: .*at least "1ms",.*"1m"\.\n#commit_interval = "1s"/s,
  );
  assert.match(text, /#most_bytes = "2GiB"/);
  assert.match(text, /# Allowed: "drop_oldest" or "stop"\.\n#when_full = "stop"/);
  assert.match(text, /#listen = "\[::1\]:7400"/);
  assert.match(text, /# Allowed: "fast", or a table with the keys interval_ms\.\n#pacing = "fast"/);
  assert.match(text, /# secret = \(may be left out\)/);
  for (const line of text.split('\n'))
    assert.ok(line.length <= 100 && (line === '' || line.startsWith('#')), line);
});

test('lists of tables and their forms are documented', () => {
  const text = documentSettings(withTables);
  assert.match(text, /#\[\[machine\]\]/);
  assert.match(text, /# name = \(must be given\)/);
  assert.match(text, /#\[\[machine\.stream\]\]/);
  assert.match(text, /# With driver = "bme280":\n\n.*#bus = 1/s);
  assert.match(text, /# With driver = "replay":/);
});

test('a slip of the finger is recognised, another word is not', () => {
  const keys = ['commit_interval', 'most_bytes', 'listen', 'epsilon'];
  assert.equal(didYouMean('comit_intervall', keys), 'commit_interval');
  assert.equal(didYouMean('lsiten', keys), 'listen');
  assert.equal(didYouMean('mostBytes', keys), 'most_bytes');
  assert.equal(didYouMean('colour', keys), undefined);
  assert.equal(didYouMean('x', keys), undefined);
  assert.equal(didYouMean('e'.repeat(10_000), keys), undefined);
});
