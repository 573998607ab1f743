import type { Io } from './io.ts';
import type { Argument, Options, ValuesOf } from './options.ts';

/** What was typed, judged by the command's specification. */
export interface Args<O extends Options> {
  readonly options: ValuesOf<O>;
  readonly positionals: readonly string[];
  /** Every command has --json: its result as one JSON object on the last line of stdout. */
  readonly json: boolean;
}

/** One command of a program, with all that its help says. */
export interface Command<O extends Options> {
  /** As typed; may be two words: `config doc`. */
  readonly name: string;
  readonly summary: string;
  /** More for `--help`. */
  readonly about?: string;
  readonly arguments?: readonly Argument[];
  readonly options: O;
  /** Command lines, without the program's name. */
  readonly examples?: readonly string[];
  /** Gives the exit code: 0, 1 when it did not work, 2 for bad input. Throws `problem(...)` for people. */
  run(args: Args<O>, io: Io): Promise<number>;
}

/** A command whose options the parser knows, and its types no longer. */
export type RunnableCommand = Command<Options>;

/** A command in the program's list: its code is loaded when it is run, so that others start fast. */
export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  load(): Promise<RunnableCommand>;
}

/**
 * A command with the types of its option values taken from their specification. The parser makes the values
 * by that same specification, which is what allows the types to be dropped here.
 */
export function defineCommand<const O extends Options>(command: Command<O>): RunnableCommand {
  return { ...command, run: (args, io) => command.run(args as Args<O>, io) };
}
