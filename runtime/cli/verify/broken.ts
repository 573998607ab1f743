/** The first thing that is broken; the message names it. */
export interface Broken extends Error {
  readonly name: 'Broken';
}

export function broken(what: string): Broken {
  return Object.assign(new Error(what), { name: 'Broken' as const });
}
