import { parseArgs } from 'node:util';
import type { Bench, Measured, Side } from './harness.ts';
import { BENCHES } from './registry.ts';

const USAGE = `npm run bench -- [--json] [--list] [--only NAME]...
  --json        one object a line: name, value, unit, against, ratio, sides (min, median, max)
  --only NAME   this measurement alone; may be given more than once; what takes an hour runs only so
  --list        names and units, nothing is measured`;

function round(value: number): number {
  return Number(value.toPrecision(4));
}

function roundSides(sides: Readonly<Record<string, Side>>): Record<string, Side> {
  return Object.fromEntries(
    Object.entries(sides).map(([name, { min, median, max }]) => [
      name,
      { min: round(min), median: round(median), max: round(max) },
    ]),
  );
}

function asJson(bench: Bench, measured: Measured): string {
  const { name, unit, against } = bench;
  const sides = measured.sides === undefined ? {} : { sides: roundSides(measured.sides) };
  const note = measured.note === undefined ? {} : { note: measured.note };
  return JSON.stringify({
    name,
    value: round(measured.value),
    unit,
    against,
    ratio: round(measured.ratio),
    ...sides,
    ...note,
  });
}

function asText(bench: Bench, measured: Measured): string {
  const lines = [
    `${bench.name}: ${round(measured.value)} ${bench.unit}, ${round(measured.ratio)} x ${bench.against}`,
  ];
  for (const [name, side] of Object.entries(roundSides(measured.sides ?? {}))) {
    lines.push(`  ${name}: median ${side.median}, min ${side.min}, max ${side.max}`);
  }
  if (measured.note !== undefined) lines.push(`  ${measured.note}`);
  return lines.join('\n');
}

async function runAll(benches: readonly Bench[], json: boolean): Promise<number> {
  let code = 0;
  for (const bench of benches) {
    try {
      const measured = await bench.run();
      console.log(json ? asJson(bench, measured) : asText(bench, measured));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      console.error(`${bench.name} could not be measured: ${why}`);
      if (json) console.log(JSON.stringify({ name: bench.name, unit: bench.unit, error: why }));
      code = 1;
    }
  }
  return code;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  if (values.list) {
    for (const { name, unit, against } of BENCHES) console.log(`${name}: ${unit}, against ${against}`);
    return 0;
  }
  const unknown = (values.only ?? []).filter((name) => !BENCHES.some((bench) => bench.name === name));
  if (unknown.length > 0) {
    console.error(
      `there is no measurement named ${unknown.join(', ')}; there are ${BENCHES.map((b) => b.name).join(', ')}`,
    );
    return 1;
  }
  const { only } = values;
  return runAll(
    only === undefined
      ? BENCHES.filter(({ slow }) => !slow)
      : BENCHES.filter(({ name }) => only.includes(name)),
    values.json,
  );
}

try {
  process.exitCode = await main();
} catch (error) {
  // parseArgs says itself which option it does not know
  console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  process.exitCode = 2;
}
