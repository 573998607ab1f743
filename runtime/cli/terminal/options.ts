/** `--verbose`: there or not. */
export interface Flag {
  readonly kind: 'flag';
  readonly about: string;
  readonly short?: string;
}

interface Valued {
  /** What stands for the value in the help: FILE, N, URL. */
  readonly value: string;
  readonly about: string;
  readonly short?: string;
  readonly required?: true;
}

export interface TextOption extends Valued {
  readonly kind: 'text';
  readonly choices?: readonly string[];
  readonly default?: string;
  readonly many?: true;
}

export interface NumberOption extends Valued {
  readonly kind: 'number';
  readonly whole?: true;
  readonly least?: number;
  readonly most?: number;
  readonly default?: number;
  readonly many?: true;
}

/** A length of time, typed as in the configuration (`250ms`, `5m`), given to the command in milliseconds. */
export interface DurationOption extends Valued {
  readonly kind: 'duration';
  readonly default?: number;
}

export type Option = Flag | TextOption | NumberOption | DurationOption;

/** Options by their long name as it is typed, without the dashes. */
export type Options = Readonly<Record<string, Option>>;

/** A word of the command line that belongs to no option. */
export interface Argument {
  /** As the help writes it: DIR. */
  readonly name: string;
  readonly about: string;
  readonly optional?: true;
  /** The last argument may be many words. */
  readonly many?: true;
}

type Single<O extends Option> = O extends Flag
  ? boolean
  : O extends { readonly choices: readonly (infer Choice)[] }
    ? Choice
    : O extends TextOption
      ? string
      : number;

type Always = { readonly required: true } | { readonly default: string | number } | Flag;

/** What a command gets for an option. */
export type ValueOf<O extends Option> = O extends { readonly many: true }
  ? readonly Single<O>[]
  : O extends Always
    ? Single<O>
    : Single<O> | undefined;

export type ValuesOf<O extends Options> = { readonly [Name in keyof O]: ValueOf<O[Name]> };
