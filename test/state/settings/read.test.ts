import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { z } from 'zod';
import { formatFaults } from '../../../runtime/state/settings/format.ts';
import { type Judged, readSettings, readSettingsFile } from '../../../runtime/state/settings/read.ts';
import { byteSize, duration, hostPort, name } from '../../../runtime/state/settings/units.ts';

const stream = z.discriminatedUnion('driver', [
  z.object({
    driver: z.literal('bme280'),
    bus: z.int().min(0).max(20),
    sampleEvery: duration({ least: '10ms' }),
  }),
  z.object({ driver: z.literal('replay'), directory: z.string().min(1) }),
]);

const schema = z.object({
  gateway: z.object({ name: name().describe('the name of this gateway'), directory: z.string().min(1) }),
  journal: z
    .object({
      commitInterval: duration({ least: '1ms', most: '1m' })
        .default(1000)
        .describe('time between two commits'),
      mostBytes: byteSize().default(2e9),
      whenFull: z.enum(['drop_oldest', 'stop']).default('stop'),
    })
    .prefault({}),
  peering: z
    .object({ listen: hostPort({ defaultPort: 7400 }) })
    .transform(({ listen }) => ({ ...listen }))
    .optional(),
  labels: z.record(z.string(), z.number()).optional(),
  machine: z.array(z.object({ name: name(), stream: z.array(stream).min(1) })).default([]),
});

const GOOD = `
[gateway]
name = "press-hall"
directory = "/var/lib/kosmos"

[journal]
commit_interval = "250ms"

[peering]
listen = "[::1]"

[labels]
Snake_And_Camel = 1

[[machine]]
name = "press-1"
[[machine.stream]]
driver = "bme280"
bus = 1
sample_every = "1s"
[[machine.stream]]
driver = "replay"
directory = "x"
`;

function faultsOf<T>(judged: Judged<T>): string[] {
  assert.equal(judged.ok, false);
  return judged.ok ? [] : judged.faults.map(({ line, path, message }) => `${line} ${path}: ${message}`);
}

test('a good file gives camelCase keys, units as numbers and defaults', () => {
  const judged = readSettings(GOOD, 'g.toml', schema);
  assert.deepEqual(judged, {
    ok: true,
    value: {
      gateway: { name: 'press-hall', directory: '/var/lib/kosmos' },
      journal: { commitInterval: 250, mostBytes: 2e9, whenFull: 'stop' },
      peering: { host: '::1', port: 7400 },
      labels: { Snake_And_Camel: 1 },
      machine: [
        {
          name: 'press-1',
          stream: [
            { driver: 'bme280', bus: 1, sampleEvery: 1000 },
            { driver: 'replay', directory: 'x' },
          ],
        },
      ],
    },
  });
});

test('every fault at once, each with its line', () => {
  const text = `
[gateway]
name = "Press Hall"
directroy = "/var"

[journal]
commit_intervall = "1s"
mostBytes = "2GB"
when_full = "dropoldest"

[peering]
listen = 7400

[[machine]]
name = "press-1"
colour = "red"
[[machine.stream]]
driver = "bme281"
[[machine.stream]]
driver = "bme280"
bus = 21
sample_every = "1ms"
big = 9007199254740993
`;
  assert.deepEqual(faultsOf(readSettings(text, 'g.toml', schema)), [
    '3 gateway.name: "Press Hall" does not have the right form',
    '4 gateway.directroy: unknown key; did you mean directory?',
    '7 journal.commit_intervall: unknown key; did you mean commit_interval?',
    '8 journal.mostBytes: unknown key: keys are written in lower case with _ between words, here most_bytes',
    '9 journal.when_full: "dropoldest" is not one of the possible values; did you mean "drop_oldest"?',
    '12 peering.listen: 7400 is a whole number, text is asked for',
    '16 machine[0].colour: unknown key',
    '18 machine[0].stream[0].driver: "bme281" is not possible here; did you mean "bme280"?',
    '21 machine[0].stream[1].bus: 21 is too big',
    '22 machine[0].stream[1].sample_every: "1ms" is too little',
    '23 machine[0].stream[1].big: unknown key',
  ]);
});

test('what is allowed stands with each fault', () => {
  const judged = readSettings(
    '[gateway]\nname = 5\n[journal]\ncommit_interval = "2h"\n[x]\n',
    'dir/g.toml',
    schema,
  );
  assert.ok(!judged.ok);
  const text = formatFaults(judged.faults);
  assert.match(text, /^dir\/g\.toml:1:1|^dir\/g\.toml:2:8: gateway\.name: 5 is a whole number/m);
  assert.match(text, /allowed: .*at least "1ms", at most "1m" \(time between two commits\)/);
  assert.match(
    text,
    /dir\/g\.toml:1:1: gateway\.directory: is missing\n {4}allowed: text of at least 1 character/,
  );
  assert.match(
    text,
    /dir\/g\.toml:5:1: x: unknown key\n {4}allowed: the keys gateway, journal, peering, labels, machine/,
  );
});

test('keys that are absent are named at the table they belong to', () => {
  const judged = readSettings('\n\n[gateway]\nname = "a"\n[[machine]]\n', 'g.toml', schema);
  assert.deepEqual(faultsOf(judged), [
    '3 gateway.directory: is missing',
    '5 machine[0].name: is missing',
    '5 machine[0].stream: is missing',
  ]);
  assert.deepEqual(faultsOf(readSettings('', 'g.toml', schema)), ['1 gateway: is missing']);
});

test('syntax faults and doubled keys are all reported, together with the others', () => {
  const text = `[gateway]
name = "a"
name = "b"
directory = 
colour = tru
sizes = [1,
  2
[journal
commit_interval = "1s"
[peering]
listen = "x:1" y = 2
[labels]
a = "x"
b = """text
`;
  const faults = faultsOf(readSettings(text, 'g.toml', schema));
  assert.deepEqual(faults, [
    '3 : name is defined a second time',
    '4 : directory: a value is missing',
    '5 : colour: unexpected character',
    '6 : sizes is not a complete statement (expected comma (,) token, noticed on line 8)',
    '8 : unterminated table-key',
    '11 : listen: something follows the value on the same line',
    '13 labels.a: "x" is text, a number is asked for',
    '14 : b is not a complete statement (unterminated string constant, noticed on line 15)',
  ]);
});

test('a table defined twice is a fault, and its lines are still checked for syntax', () => {
  const text = '[gateway]\nname = "a"\ndirectory = "d"\n[journal]\n[gateway]\nx = ]\n';
  assert.deepEqual(faultsOf(readSettings(text, 'g.toml', schema)), [
    '5 : [gateway] is defined a second time',
    '6 : x: unexpected token',
  ]);
});

test('text without end, without sense or with a thousand faults is refused within bounds', () => {
  const many = readSettings('= 1\n'.repeat(1000), 'g.toml', schema);
  assert.ok(!many.ok && many.faults.length <= 42);
  assert.ok(!readSettings('\u0000\u0001', 'g.toml', schema).ok);
  assert.ok(!readSettings('a = "x', 'g.toml', schema).ok);
  assert.ok(!readSettings(`a = "${'x'.repeat(2 << 20)}"`, 'g.toml', schema).ok);
  assert.ok(!readSettings('__proto__ = 1\n[constructor]\ntoString = 2', 'g.toml', schema).ok);
});

test('a byte order mark and Windows line ends are taken', () => {
  assert.ok(readSettings(`\uFEFF${GOOD.replaceAll('\n', '\r\n')}`, 'g.toml', schema).ok);
});

test('a check across keys keeps its own words and place', () => {
  const range = z
    .object({ low: z.number(), high: z.number().optional() })
    .superRefine(({ low, high }, context) => {
      if (high === undefined)
        context.addIssue({ code: 'custom', path: ['high'], message: 'a low end wants a high end' });
      else if (low > high) context.addIssue({ code: 'custom', path: ['low'], message: 'low is above high' });
    });
  const judge = (text: string) => faultsOf(readSettings(text, 'g.toml', z.object({ upTo: range })));
  assert.deepEqual(judge('[up_to]\nlow = 2\nhigh = 1'), ['2 up_to.low: low is above high']);
  assert.deepEqual(judge('[up_to]\nlow = 2'), ['1 up_to.high: a low end wants a high end']);
});

test('of a plain choice the form that fits best is judged', () => {
  const choice = z.object({
    pacing: z.union([z.literal('fast'), z.object({ intervalMs: z.int().min(1), jitterMs: z.int().min(0) })]),
  });
  const judge = (text: string) => readSettings(text, 'g.toml', choice);
  assert.ok(judge('pacing = "fast"').ok);
  assert.ok(judge('pacing = { interval_ms = 5, jitter_ms = 0 }').ok);
  assert.deepEqual(faultsOf(judge('[pacing]\ninterval_ms = 0\njitterms = 1')), [
    '2 pacing.interval_ms: 0 is too small',
    '3 pacing.jitterms: unknown key; did you mean jitter_ms?',
  ]);
  assert.deepEqual(faultsOf(judge('pacing = true')), ['1 pacing: true is not possible here']);
});

test('a file that is absent, a directory or not text is one clear fault', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-settings-'));
  try {
    const absent = await readSettingsFile(join(directory, 'no.toml'), schema);
    assert.deepEqual(faultsOf(absent), ['1 : the file cannot be read: there is no such file']);
    assert.deepEqual(faultsOf(await readSettingsFile(directory, schema)), ['1 : the file is a directory']);
    assert.deepEqual(faultsOf(await readSettingsFile('/dev/zero', schema)), [
      '1 : the file is no plain file',
    ]);
    await writeFile(join(directory, 'b.toml'), Buffer.from([0x61, 0xff, 0xfe]));
    assert.deepEqual(faultsOf(await readSettingsFile(join(directory, 'b.toml'), schema)), [
      '1 : the file is not UTF-8 text',
    ]);
    await writeFile(join(directory, 'g.toml'), GOOD);
    assert.ok((await readSettingsFile(join(directory, 'g.toml'), schema)).ok);
    const short = await readSettingsFile(join(directory, 'g.toml'), schema, { mostBytes: 100 });
    assert.deepEqual(faultsOf(short), ['1 : the file is longer than 100 bytes']);
  } finally {
    await rm(directory, { recursive: true });
  }
});
