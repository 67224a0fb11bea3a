import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { dirname } from 'node:path';

/** One line of the table: what was measured, beside its baseline of the same run. */
export interface Row {
  readonly name: string;
  readonly measure: string;
  /** The median, where there were several samples. */
  readonly value: number;
  readonly spread?: Spread;
  /** Absent: there is nothing to hold it against but a limit. */
  readonly baseline?: number;
  readonly baselineSpread?: Spread;
  readonly unit: string;
  /** value / baseline. */
  readonly ratio?: number;
  /** For example `≤ 2×`, `≤ 150 MiB`. Empty: reported only. */
  readonly bar: string;
  /** Absent: there is no bar. */
  readonly met?: boolean;
}

/** Of several samples: their quartiles. */
export interface Spread {
  readonly low: number;
  readonly high: number;
  readonly samples: number;
}

/** `max`: not above it; `min`: not below it. */
export interface Bar {
  readonly max?: number;
  readonly min?: number;
}

/**
 * A figure beside its baseline.
 * @param value one figure, or samples, whose median it is; `baseline` likewise
 * @param bar of value / baseline. Absent: reported only.
 */
export function toRow(
  name: string,
  measure: string,
  value: number | readonly number[],
  baseline: number | readonly number[],
  unit: string,
  bar?: Bar,
): Row {
  const [ours, other] = [summarise(value), summarise(baseline)];
  const ratio = ours.value / other.value;
  const { spread: baselineSpread } = other;
  return {
    name,
    measure,
    unit,
    ...ours,
    baseline: other.value,
    ratio,
    ...(baselineSpread === undefined ? {} : { baselineSpread }),
    ...judge(ratio, '×', bar),
  };
}

/** A figure with a bar of its own. @param bar in the unit of the figure. Absent: reported only. */
export function toFigure(
  name: string,
  measure: string,
  value: number | readonly number[],
  unit: string,
  bar?: Bar,
): Row {
  const ours = summarise(value);
  return { name, measure, unit, ...ours, ...judge(ours.value, ` ${unit}`, bar) };
}

function summarise(value: number | readonly number[]): { value: number; spread?: Spread } {
  if (typeof value === 'number') return { value };
  const spread = { low: quantile(value, 0.25), high: quantile(value, 0.75), samples: value.length };
  return { value: quantile(value, 0.5), ...(value.length > 1 ? { spread } : {}) };
}

function judge(figure: number, unit: string, bar?: Bar): Pick<Row, 'bar' | 'met'> {
  if (bar === undefined) return { bar: '' };
  const text = bar.max === undefined ? `≥ ${bar.min}${unit}` : `≤ ${bar.max}${unit}`;
  return { bar: text, met: figure <= (bar.max ?? Infinity) && figure >= (bar.min ?? -Infinity) };
}

/** The q-quantile (0 to 1) of the samples, which need not be sorted. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

/** What one run of benchmarks wrote. */
export interface Report {
  /** RFC 3339. */
  readonly at: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memory_bytes: number;
    readonly kernel: string;
    readonly node: string;
    /** `-dirty` where the tree was changed since; empty outside of a repository. */
    readonly commit: string;
  };
  readonly rows: readonly Row[];
}

export function toReport(rows: readonly Row[]): Report {
  return {
    at: new Date().toISOString(),
    machine: {
      cpu: cpus()[0]?.model ?? '',
      cores: cpus().length,
      memory_bytes: totalmem(),
      kernel: release(),
      node: process.version,
      commit: describeCommit(),
    },
    rows,
  };
}

function describeCommit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {
      encoding: 'utf8',
      stdio: 'pipe',
    }).trim();
  } catch {
    return '';
  }
}

/** Writes the figures where scripts find them. */
export function writeReport(report: Report, file: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
}

/** Throws an Error for people where the file is none. */
export function readReport(file: string): Report {
  const report = parseReport(file);
  if (Array.isArray(report?.rows)) return report;
  throw new Error(`${file} is no report of a benchmark: out/bench.json is one, after make bench`);
}

function parseReport(file: string): Report | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** @param before an earlier report, whose figures stand beside these */
export function printRows(rows: readonly Row[], before?: Report): void {
  console.table(
    rows.map((row) => ({
      row: row.name,
      what: row.measure,
      ours: describeValue(row),
      baseline: describeBaseline(row),
      ratio: describeRatio(row),
      bar: row.bar,
      met: describeMet(row),
      ...(before === undefined ? {} : { before: describeEarlier(row, before) }),
    })),
  );
}

function describeEarlier({ name, measure }: Row, { rows }: Report): string {
  const earlier = rows.find((it) => it.name === name && it.measure === measure);
  if (earlier === undefined) return '–';
  return `${describeValue(earlier)} ${describeRatio(earlier)}`.trim();
}

/** The same as a table in Markdown, for docs/performance.md. */
export function toMarkdown({ at, machine, rows }: Report): string {
  const gib = (machine.memory_bytes / 2 ** 30).toFixed(0);
  const where = `${machine.cores} cores (${machine.cpu}), ${gib} GiB, Linux ${machine.kernel}, Node ${machine.node}`;
  return [
    `${at.slice(0, 10)}, commit ${machine.commit}: ${where}`,
    '',
    '| row | what | ours | baseline | ratio | bar | met |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...rows.map((row) => {
      const cells = [
        describeValue(row),
        describeBaseline(row),
        describeRatio(row),
        row.bar,
        describeMet(row),
      ];
      return `| ${[row.name, row.measure, ...cells].join(' | ')} |`;
    }),
  ].join('\n');
}

function describeValue({ value, unit, spread }: Row): string {
  return describe(value, unit, spread);
}

function describeBaseline({ baseline, unit, baselineSpread }: Row): string {
  return baseline === undefined ? '' : describe(baseline, unit, baselineSpread);
}

function describeRatio({ ratio }: Row): string {
  return ratio === undefined ? '' : `${ratio.toFixed(2)}×`;
}

function describeMet({ met }: Row): string {
  return met === undefined ? '' : met ? 'yes' : 'NO';
}

function describe(value: number, unit: string, spread?: Spread): string {
  const quartiles = spread === undefined ? '' : ` (${toShort(spread.low)}–${toShort(spread.high)})`;
  return `${toShort(value)} ${unit}${quartiles}`;
}

function toShort(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
