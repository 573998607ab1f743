import type { CommandEntry, RunnableCommand } from './command.ts';
import type { Argument, Option, Options } from './options.ts';
import { COMMON, shownDefault } from './parse.ts';

const WIDTH = 100;

/** What `--help` shows for one command. */
export function commandHelp(program: string, command: RunnableCommand): string {
  const { about, examples = [], options } = command;
  const wanted = command.arguments ?? [];
  const words = [program, command.name, ...wanted.map(usageOf), '[options]'];
  const sections = [`Usage: ${words.join(' ')}`, capitalised(command.summary)];
  if (about !== undefined) sections.push(wrap(about, WIDTH).join('\n'));
  if (wanted.length > 0) sections.push(list(wanted.map(({ name, about: text }) => [name, text])));
  sections.push(`Options:\n${list(Object.entries({ ...options, ...COMMON } as Options).map(optionLine))}`);
  if (examples.length > 0) {
    sections.push(`Examples:\n${examples.map((line) => `  ${program} ${line}`).join('\n')}`);
  }
  return `${sections.join('\n\n')}\n`;
}

/** What `kosmos --help` shows. */
export function programHelp(program: string, summary: string, commands: readonly CommandEntry[]): string {
  const sections = [
    `Usage: ${program} COMMAND [options]`,
    capitalised(summary),
    `Commands:\n${list(commands.map(({ name, summary: text }) => [name, text]))}`,
    `${program} COMMAND --help shows what a command takes; --json is for every command.`,
  ];
  return `${sections.join('\n\n')}\n`;
}

function usageOf({ name, optional, many }: Argument): string {
  const word = many === true ? `${name}...` : name;
  return optional === true ? `[${word}]` : word;
}

function optionLine([name, spec]: [string, Option]): [string, string] {
  const short = spec.short === undefined ? '    ' : `-${spec.short}, `;
  const value = spec.kind === 'flag' ? '' : ` ${spec.value}`;
  const shown = shownDefault(spec);
  const notes = [
    spec.kind === 'text' && spec.choices !== undefined ? `one of ${spec.choices.join(', ')}` : '',
    spec.kind !== 'flag' && spec.required === true ? 'must be given' : '',
    'many' in spec && spec.many === true ? 'may be given again' : '',
    shown === undefined ? '' : `default ${shown}`,
  ].filter((note) => note !== '');
  return [
    `${short}--${name}${value}`,
    notes.length === 0 ? spec.about : `${spec.about} (${notes.join('; ')})`,
  ];
}

/** Two columns; a left side that is too long stands on a line of its own. */
function list(rows: readonly (readonly [string, string])[]): string {
  const longest = Math.max(0, ...rows.map(([left]) => left.length).filter((length) => length <= 30));
  const indent = ' '.repeat(longest + 4);
  return rows
    .flatMap(([left, right]) => {
      const [first = '', ...rest] = wrap(right, WIDTH - indent.length);
      const start =
        left.length > longest ? [`  ${left}`, `${indent}${first}`] : [`  ${left.padEnd(longest)}  ${first}`];
      return [...start, ...rest.map((line) => `${indent}${line}`)];
    })
    .join('\n');
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split('\n')) {
    let line = '';
    for (const word of paragraph.split(' ')) {
      if (line !== '' && line.length + 1 + word.length > width) {
        lines.push(line);
        line = word;
      } else line = line === '' ? word : `${line} ${word}`;
    }
    lines.push(line);
  }
  return lines;
}

function capitalised(text: string): string {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
