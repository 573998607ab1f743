import type { Environment, Out } from './io.ts';

/** Turns text into text with a colour or weight; gives it back as it is where colour is not wanted. */
export type Paint = (text: string) => string;

export interface Colour {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly red: Paint;
  readonly green: Paint;
  readonly yellow: Paint;
  readonly blue: Paint;
  readonly cyan: Paint;
}

/** Colour on a terminal that has it, unless NO_COLOR (no-color.org) is set to anything. */
export function createColour(stream: Out, env: Environment): Colour {
  const plain = stream.isTTY !== true || env.TERM === 'dumb' || (env.NO_COLOR ?? '') !== '';
  // ECMA-48 "select graphic rendition": on with the first code, off with the second.
  const paint = (on: number, off: number): Paint =>
    plain ? (text) => text : (text) => (text === '' ? '' : `\u001b[${on}m${text}\u001b[${off}m`);
  return {
    bold: paint(1, 22),
    dim: paint(2, 22),
    red: paint(31, 39),
    green: paint(32, 39),
    yellow: paint(33, 39),
    blue: paint(34, 39),
    cyan: paint(36, 39),
  };
}
