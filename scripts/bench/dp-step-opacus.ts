import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { BATCHES, measureStep, NETS, nameOf, startWasm } from './dp-step.ts';
import type { Bench, Side } from './harness.ts';

const SCRIPT = fileURLToPath(new URL('../peers/opacus/measure.py', import.meta.url));
const TIME_LIMIT_MS = 10 * 60_000;

/** How much slower than Opacus a step may be: faster on the small net, within twice on the large one. */
const WANTED = [1, 2];

interface OpacusFigures {
  readonly versions: Readonly<Record<string, string>>;
  readonly steps: readonly Side[];
}

function runOpacus(python: string, cases: readonly object[]): OpacusFigures {
  const { status, stdout, stderr, error } = spawnSync(python, [SCRIPT, JSON.stringify(cases)], {
    encoding: 'utf8',
    timeout: TIME_LIMIT_MS,
    env: { ...process.env, OMP_NUM_THREADS: '1', MKL_NUM_THREADS: '1' },
  });
  if (status !== 0) {
    const why = error?.message ?? stderr.trim().split('\n').at(-1) ?? '';
    throw new Error(`${python} did not measure Opacus: ${why}; ${SCRIPT} says what it needs`);
  }
  return JSON.parse(stdout) as OpacusFigures;
}

/** A step of DP-SGD here, draw and noise included, against one of Opacus with ghost clipping, a thread each. */
export const dpStepOpacus: Bench = {
  name: 'dp-step-opacus',
  unit: 'x the time of Opacus, the worst of four against what is wanted: at most 1',
  against: 'Opacus with ghost clipping on PyTorch (CPU, one thread)',
  slow: true,
  async run() {
    const python = process.env.KOSMOS_OPACUS_PYTHON;
    if (python === undefined) {
      throw new Error(`KOSMOS_OPACUS_PYTHON names no Python that has Opacus; ${SCRIPT} says how to get one`);
    }
    await startWasm();
    const cases = NETS.flatMap((net, which) =>
      BATCHES.map((batch) => ({ net, batch, wanted: WANTED[which]! })),
    );
    const opacus = runOpacus(
      python,
      cases.map(({ net, batch }) => ({ sizes: [net.inputs, ...net.hidden, 1], batch })),
    );
    const sides: Record<string, Side> = {};
    const notes = Object.entries(opacus.versions).map(([name, version]) => `${name} ${version}`);
    let worst = 0;
    for (const [index, { net, batch, wanted }] of cases.entries()) {
      const { dp } = await measureStep(net, batch);
      const other = opacus.steps[index]!;
      const name = nameOf(net, batch);
      sides[`here ${name}, ms`] = dp;
      sides[`Opacus ${name}, ms`] = other;
      worst = Math.max(worst, dp.median / other.median / wanted);
      notes.push(`${name}: ${(dp.median / other.median).toFixed(2)}, wanted ${wanted}`);
    }
    return { value: worst, ratio: worst, sides, note: notes.join('; ') };
  },
};
