/** Error against epsilon as an SVG: what privacy costs, at a glance. */
import type { Measurement } from './measure.ts';

const WIDTH = 760;
const HEIGHT = 440;
const PLOT = { left: 70, right: 740, top: 60, bottom: 360 };
const COLOURS = { window: '#1f6f8b', episode: '#b5541c', line: '#666666' } as const;

/** Lines of constant error, drawn across: nobody's epsilon moves them. */
export interface Level {
  readonly label: string;
  readonly value: number;
}

/** @param points federated runs with a budget. The x axis is logarithmic in epsilon, the y axis begins at 10 cycles. */
export function errorAgainstEpsilon(points: readonly Measurement[], levels: readonly Level[]): string {
  const epsilons = points.flatMap(({ variant }) => variant.epsilon ?? []);
  const seeds = points[0]?.raw.runs.length ?? 0;
  const most = Math.max(
    ...points.map(({ raw }) => raw.mean + raw.deviation),
    ...levels.map(({ value }) => value),
  );
  const top = 5 * Math.ceil(most / 5);
  const [low, high] = [Math.log(Math.min(...epsilons)), Math.log(Math.max(...epsilons))];
  const x = (epsilon: number) =>
    PLOT.left + 20 + ((Math.log(epsilon) - low) / (high - low)) * (PLOT.right - PLOT.left - 40);
  const y = (value: number) => PLOT.bottom - ((value - 10) / (top - 10)) * (PLOT.bottom - PLOT.top);
  const parts = [
    text(
      PLOT.left,
      28,
      'What privacy costs: error on unseen engines against epsilon',
      'font-size="17" font-weight="bold"',
    ),
    text(
      PLOT.left,
      48,
      `C-MAPSS FD001, 5 companies, delta 1e-5, each adds the whole noise; bars: one deviation over ${seeds} seeds`,
    ),
    ...gridLines(top, y),
    ...[...new Set(epsilons)]
      .sort((a, b) => a - b)
      .map((value) => text(x(value), PLOT.bottom + 20, `${value}`, 'text-anchor="middle"')),
    text(
      (PLOT.left + PLOT.right) / 2,
      PLOT.bottom + 42,
      'epsilon: less is more private',
      'text-anchor="middle"',
    ),
    `<text transform="translate(22 ${(PLOT.top + PLOT.bottom) / 2}) rotate(-90)" text-anchor="middle">RMSE in cycles: less is better</text>`,
    ...levels.flatMap(({ label, value }) => level(label, y(value))),
    ...(['window', 'episode'] as const).flatMap((unit) => curve(unit, points, x, y)),
    ...legend(),
  ];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#222222">`,
    '<title>Error on unseen engines against epsilon, for the units window and episode</title>',
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function gridLines(top: number, y: (value: number) => number): string[] {
  const values = Array.from({ length: (top - 10) / 5 + 1 }, (_, index) => 10 + 5 * index);
  return values.flatMap((value) => [
    `<line x1="${PLOT.left}" x2="${PLOT.right}" y1="${round(y(value))}" y2="${round(y(value))}" stroke="#dddddd"/>`,
    text(PLOT.left - 8, y(value) + 4, `${value}`, 'text-anchor="end"'),
  ]);
}

function level(label: string, at: number): string[] {
  return [
    `<line x1="${PLOT.left}" x2="${PLOT.right}" y1="${round(at)}" y2="${round(at)}" stroke="${COLOURS.line}" stroke-dasharray="5 4"/>`,
    // Below its line: the curves come close from above.
    text(PLOT.left + 6, at + 12, label, 'fill="#444444" font-size="11"'),
  ];
}

function curve(
  unit: 'window' | 'episode',
  all: readonly Measurement[],
  x: (epsilon: number) => number,
  y: (value: number) => number,
): string[] {
  const points = all
    .filter(({ variant }) => variant.unit === unit && variant.epsilon !== undefined)
    .sort((a, b) => a.variant.epsilon! - b.variant.epsilon!);
  const colour = COLOURS[unit];
  const at = points.map(({ variant, raw }) => `${round(x(variant.epsilon!))},${round(y(raw.mean))}`);
  return [
    `<polyline points="${at.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    ...points.flatMap(({ variant, raw }) => {
      const centre = round(x(variant.epsilon!));
      const [upper, lower] = [round(y(raw.mean + raw.deviation)), round(y(raw.mean - raw.deviation))];
      return [
        `<line x1="${centre}" x2="${centre}" y1="${upper}" y2="${lower}" stroke="${colour}"/>`,
        `<circle cx="${centre}" cy="${round(y(raw.mean))}" r="4" fill="${colour}"/>`,
      ];
    }),
  ];
}

function legend(): string[] {
  return (['window', 'episode'] as const).flatMap((unit, index) => {
    const at = PLOT.bottom + 62;
    const left = PLOT.left + 20 + 300 * index;
    const label = unit === 'window' ? 'unit: one window (weak)' : 'unit: a machine’s whole run (strong)';
    return [
      `<circle cx="${left}" cy="${at}" r="4" fill="${COLOURS[unit]}"/>`,
      text(left + 12, at + 4, label),
    ];
  });
}

function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${round(x)}" y="${round(y)}" ${attributes}>${content}</text>`;
}

function round(value: number): number {
  return Math.round(10 * value) / 10;
}
