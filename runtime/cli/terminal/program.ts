import { didYouMean } from '../../state/settings/suggest.ts';
import { createColour } from './colour.ts';
import type { CommandEntry } from './command.ts';
import { commandHelp, programHelp } from './help.ts';
import { type Io, printJson } from './io.ts';
import { parseCommandLine } from './parse.ts';
import { describeError, explain, isProblem } from './problem.ts';

export interface Program {
  readonly name: string;
  readonly summary: string;
  readonly version: string;
  readonly commands: readonly CommandEntry[];
}

/** The command line is wrong, or a file of settings is. */
const EXIT_USAGE = 2;

/**
 * Runs the command that `argv` names and gives the exit code. Nothing is thrown: an error is printed to
 * stderr with what, where and what to do (and to stdout as `{"error": ...}` after --json).
 */
export async function runProgram(program: Program, argv: readonly string[], io: Io): Promise<number> {
  const [first] = argv;
  if (first === '--version' || first === '-V') {
    io.stdout.write(`${program.version}\n`);
    return 0;
  }
  const asked = first === 'help' ? [...argv.slice(1), '--help'] : argv;
  const help = programHelp(program.name, program.summary, program.commands);
  if (asked[0] === '--help' || asked[0] === '-h') {
    io.stdout.write(help);
    return 0;
  }
  if (first === undefined) {
    io.stderr.write(help);
    return EXIT_USAGE;
  }
  const found = findCommand(program.commands, asked);
  if (found === undefined) {
    const group = program.commands.filter(({ name }) => name.startsWith(`${asked[0]} `));
    if (
      group.length > 0 &&
      asked.slice(1).every((word) => word === '--help' || word === '-h') &&
      asked.length > 1
    ) {
      io.stdout.write(programHelp(program.name, program.summary, group));
      return 0;
    }
    return refuseCommand(program, asked, io);
  }
  return runCommand(program, found.entry, asked.slice(found.words), io);
}

/** The command with the most words that are all there. */
function findCommand(
  commands: readonly CommandEntry[],
  argv: readonly string[],
): { readonly entry: CommandEntry; readonly words: number } | undefined {
  let best: { entry: CommandEntry; words: number } | undefined;
  for (const entry of commands) {
    const words = entry.name.split(' ');
    const same = words.every((word, index) => argv[index] === word);
    if (same && words.length > (best?.words ?? 0)) best = { entry, words: words.length };
  }
  return best;
}

function refuseCommand(program: Program, argv: readonly string[], io: Io): number {
  const words = argv.filter((word) => !word.startsWith('-')).slice(0, 2);
  const group = program.commands.filter(({ name }) => name.startsWith(`${words[0]} `));
  const names = program.commands.map(({ name }) => name);
  const typed = words.join(' ');
  const meant = didYouMean(typed, names) ?? didYouMean(words[0] ?? '', names);
  const hint =
    group.length > 0 && meant === undefined
      ? `\n  there are ${group.map(({ name }) => name).join(', ')}`
      : meant === undefined
        ? ''
        : `; did you mean ${meant}?`;
  const shown = group.length > 0 ? typed : (words[0] ?? argv[0]);
  io.stderr.write(
    `${program.name}: there is no command ${shown}${hint}\n  ${program.name} --help lists the commands\n`,
  );
  if (argv.includes('--json')) printJson(io, { error: { what: `there is no command ${shown}` } });
  return EXIT_USAGE;
}

async function runCommand(
  program: Program,
  entry: CommandEntry,
  argv: readonly string[],
  io: Io,
): Promise<number> {
  let json = argv.includes('--json');
  try {
    const command = await entry.load();
    const parsed = parseCommandLine(command, argv);
    if (parsed.kind === 'help') {
      io.stdout.write(commandHelp(program.name, command));
      return 0;
    }
    if (parsed.kind === 'faults') {
      const name = `${program.name} ${entry.name}`;
      const lines = parsed.faults.map((fault) => `${name}: ${fault}`);
      io.stderr.write(`${lines.join('\n')}\n  ${name} --help shows what it takes\n`);
      if (json) printJson(io, { error: { what: parsed.faults.join('; ') } });
      return EXIT_USAGE;
    }
    json = parsed.args.json;
    return await command.run(parsed.args, io);
  } catch (error) {
    const { red } = createColour(io.stderr, io.env);
    io.stderr.write(`${red(`${program.name} ${entry.name}:`)} ${describeError(error, io.env)}\n`);
    if (json) printJson(io, { error: explain(error) });
    return isProblem(error) ? error.exitCode : 1;
  }
}
