import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createColour } from '../../../runtime/cli/terminal/colour.ts';
import { ago, bytes, count, rate, significant, span } from '../../../runtime/cli/terminal/human.ts';
import type { Out } from '../../../runtime/cli/terminal/io.ts';
import { bar, clip, pad, sparkline, table, visibleWidth } from '../../../runtime/cli/terminal/layout.ts';
import { createScreen } from '../../../runtime/cli/terminal/screen.ts';

/** A terminal that understands what a screen writes: text, line ends, cursor up, clearing. */
function terminal(
  columns: number,
  rows: number,
): Out & { readonly shown: () => string[]; cursorHidden: () => boolean } {
  let screen: string[] = [''];
  let row = 0;
  let column = 0;
  let hidden = false;
  const put = (character: string): void => {
    assert.ok(column < columns, 'a line is longer than the terminal is wide');
    screen[row] =
      (screen[row] ?? '').padEnd(column).slice(0, column) + character + (screen[row] ?? '').slice(column + 1);
    column += 1;
  };
  const control = (code: string): void => {
    const up = /^(\d+)A$/.exec(code);
    if (up) row = Math.max(Math.max(0, screen.length - rows), row - Number(up[1]));
    else if (code === 'K') screen[row] = (screen[row] ?? '').slice(0, column);
    else if (code === 'J') {
      screen = screen.slice(0, row + 1);
      screen[row] = (screen[row] ?? '').slice(0, column);
    } else if (code === '?25l') hidden = true;
    else if (code === '?25h') hidden = false;
    else assert.match(code, /^\?2026[hl]$|^[\d;]*m$/);
  };
  return {
    isTTY: true,
    columns,
    rows,
    write(text) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what is looked for
      for (const part of text.match(/\u001b\[[?\d;]*[A-Za-z]|[\s\S]/gu) ?? []) {
        if (part.startsWith('\u001b')) control(part.slice(2));
        else if (part === '\n') {
          row += 1;
          column = 0;
          screen[row] ??= '';
        } else if (part === '\r') column = 0;
        else put(part);
      }
    },
    shown: () => screen.map((line) => line.trimEnd()),
    cursorHidden: () => hidden,
  };
}

test('a live screen draws each frame in the place of the one before', () => {
  const out = terminal(20, 10);
  const screen = createScreen(out);
  assert.ok(screen.live);
  screen.draw({ lines: ['one', 'two is longer', 'three'], summary: '' });
  assert.deepEqual(out.shown(), ['one', 'two is longer', 'three', '']);
  assert.ok(out.cursorHidden());
  screen.draw({ lines: ['1', '2'], summary: '' });
  assert.deepEqual(out.shown(), ['1', '2', '']);
  screen.print('a line that stays');
  screen.draw({ lines: ['1', '22', '3'], summary: '' });
  assert.deepEqual(out.shown(), ['a line that stays', '1', '22', '3', '']);
  screen.close();
  screen.close();
  screen.draw({ lines: ['late'], summary: '' });
  screen.print('end');
  assert.deepEqual(out.shown(), ['a line that stays', '1', '22', '3', 'end', '']);
  assert.ok(!out.cursorHidden());
});

test('a frame that is wider and higher than the terminal is cut to it', () => {
  const out = terminal(10, 4);
  const screen = createScreen(out);
  const lines = Array.from({ length: 9 }, (_, index) => `\u001b[31m${index} ${'x'.repeat(30)}\u001b[39m`);
  screen.draw({ lines, summary: '' });
  screen.draw({ lines, summary: '' });
  assert.deepEqual(out.shown(), ['0 xxxxxxx…', '1 xxxxxxx…', '2 xxxxxxx…', '']);
  screen.close();
});

test('a terminal that cannot follow gets no more frames', () => {
  let written = 0;
  const write = (): void => {
    written += 1;
  };
  const out = { isTTY: true, writableNeedDrain: true, write };
  const screen = createScreen(out);
  for (let i = 0; i < 100; i++) screen.draw({ lines: ['x'], summary: '' });
  assert.equal(written, 0);
  screen.close();
});

test('without a terminal there is a plain line now and then, and the last one at the end', () => {
  let out = '';
  let time = 0;
  const write = (text: string): void => {
    out += text;
  };
  const screen = createScreen({ write }, { plainEveryMs: 1000, now: () => time });
  assert.ok(!screen.live);
  for (time = 0; time <= 2500; time += 100) screen.draw({ lines: ['a', 'b'], summary: `at ${time}` });
  screen.print('something happened');
  screen.close();
  assert.equal(out, 'at 0\nat 1000\nat 2000\nsomething happened\nat 2500\n');
});

test('colour only on a terminal and without NO_COLOR', () => {
  const on = { isTTY: true, write() {} };
  assert.equal(createColour(on, {}).red('x'), '\u001b[31mx\u001b[39m');
  assert.equal(createColour(on, { NO_COLOR: '' }).red('x'), '\u001b[31mx\u001b[39m');
  for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }]) assert.equal(createColour(on, env).red('x'), 'x');
  assert.equal(createColour({ write() {} }, {}).bold('x'), 'x');
});

test('tables, bars and sparklines', () => {
  const columns = [{ title: 'gateway' }, { title: 'samples', align: 'right' as const }, { title: '' }];
  assert.deepEqual(
    table(columns, [
      ['a', '12'],
      ['\u001b[31mb\u001b[39m', '3 456', 'ok'],
    ]),
    ['gateway  samples', 'a             12', '\u001b[31mb\u001b[39m          3 456  ok'],
  );
  assert.equal(sparkline([0, 1, 2, 3, 4, 5, 6, 7]), '▁▂▃▄▅▆▇█');
  assert.equal(sparkline([5, Number.NaN, 5]), '▁ ▁');
  assert.equal(sparkline([1, 2, 3, 9, 0], { width: 2, low: 0, high: 9 }), '█▁');
  assert.equal(sparkline([]), '');
  assert.equal(bar(0.5, 4), '██░░');
  assert.equal(bar(Number.NaN, 2), '░░');
  assert.equal(bar(7, 2), '██');
  assert.equal(clip('abcdef', 4), 'abc…');
  assert.equal(clip('\u001b[31mabcdef\u001b[39m', 4), '\u001b[31mabc…\u001b[0m');
  assert.equal(clip('abcd', 4), 'abcd');
  assert.equal(clip('abcd', 0), '');
  assert.equal(visibleWidth(pad('\u001b[1mx\u001b[22m', 5, 'right')), 5);
});

test('units for people', () => {
  assert.deepEqual([0, 999, 1000, 12_345_678, -4321].map(count), [
    '0',
    '999',
    '1 000',
    '12 345 678',
    '-4 321',
  ]);
  assert.deepEqual([0, 0.25, 12.34, 4560.4].map(rate), ['0/s', '0.250/s', '12.3/s', '4 560/s']);
  assert.deepEqual([0, 512, 999.6, 1500, 999_600, 2e9, 1e18].map(bytes), [
    '0 B',
    '512 B',
    '1.00 kB',
    '1.50 kB',
    '1.00 MB',
    '2.00 GB',
    '1 000 PB',
  ]);
  const times = [
    0, 350, 999.6, 1500, 9_949, 9_960, 12_000, 59_600, 303_000, 3_599_600, 7_500_000, 273_600_000,
  ];
  assert.deepEqual(times.map(span), [
    '0 ms',
    '350 ms',
    '1000 ms',
    '1.5 s',
    '9.9 s',
    '10 s',
    '12 s',
    '1 min 00 s',
    '5 min 03 s',
    '1 h 00 min',
    '2 h 05 min',
    '3 d 4 h',
  ]);
  assert.deepEqual(
    [ago(5), ago(12_000), span(-1500), span(Number.NaN)],
    ['just now', '12 s ago', '-1.5 s', '-'],
  );
  assert.deepEqual(
    [0, 0.00012, 0.012345, 1.5, 9.999, 123.4, 99_999, 12_345_678, Number.NaN].map((value) =>
      significant(value),
    ),
    ['0', '1.20e-4', '0.0123', '1.50', '10.0', '123', '100 000', '1.23e7', '-'],
  );
});
