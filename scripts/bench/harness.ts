/** What one side of a measurement gave, in the bench's unit. */
export interface Side {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

/** The outcome of a bench: the figure, the figure it is held against, and their ratio. */
export interface Measured {
  readonly value: number;
  /** `value` against the other side, worded by the bench (n x the rate, n x the time). */
  readonly ratio: number;
  readonly sides?: Readonly<Record<string, Side>>;
  /** Anything a reader has to know to judge the figure. */
  readonly note?: string;
}

/** One measurement; it throws, saying why, when it cannot be made. */
export interface Bench {
  readonly name: string;
  readonly unit: string;
  /** What `ratio` is held against. */
  readonly against: string;
  /** Takes so long that it runs only when it is named. */
  readonly slow?: boolean;
  run(): Promise<Measured>;
}

/** Does the work of one turn and tells its figure in the bench's unit. */
export type Turn = () => number | Promise<number>;

/** Minimum, median and maximum of at least one figure. */
export function summarise(figures: readonly number[]): Side {
  if (figures.length === 0) throw new Error('no figure was measured: give at least one run');
  const sorted = [...figures].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const at = (index: number): number => sorted[index] as number;
  const median = sorted.length % 2 === 1 ? at(Math.floor(middle)) : (at(middle - 1) + at(middle)) / 2;
  return { min: at(0), median, max: at(sorted.length - 1) };
}

/**
 * Measures two sides in turn, A B B A A B ..., so that a machine that grows slower or faster during the run
 * does so to both. One turn of each is thrown away first, for the just-in-time compiler.
 */
export async function alternate(
  sideA: Turn,
  sideB: Turn,
  { runs }: { readonly runs: number },
): Promise<{ readonly a: Side; readonly b: Side }> {
  await sideA();
  await sideB();
  const a: number[] = [];
  const b: number[] = [];
  for (let run = 0; run < runs; run++) {
    if (run % 2 === 0) {
      a.push(await sideA());
      b.push(await sideB());
    } else {
      b.push(await sideB());
      a.push(await sideA());
    }
  }
  return { a: summarise(a), b: summarise(b) };
}

/** How often a second `work` can be done, over at least `leastMs`; `batch` calls stand between two looks at the clock. */
export function perSecond(work: () => void, { leastMs, batch }: { leastMs: number; batch: number }): number {
  const started = performance.now();
  let done = 0;
  let elapsed = 0;
  while (elapsed < leastMs) {
    for (let i = 0; i < batch; i++) work();
    done += batch;
    elapsed = performance.now() - started;
  }
  return (done * 1000) / elapsed;
}
