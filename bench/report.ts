import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

/** One line of the table: what was measured, beside its baseline of the same run. */
export interface Row {
  readonly name: string;
  readonly measure: string;
  readonly value: number;
  readonly baseline: number;
  readonly unit: string;
  /** value / baseline. */
  readonly ratio: number;
  /** For example `≤ 2.0×`. Empty: reported only. */
  readonly bar: string;
  readonly met: boolean | undefined;
}

/** @param bar `max`: the ratio must not be above it; `min`: not below. Absent: reported only. */
export function toRow(
  name: string,
  measure: string,
  value: number,
  baseline: number,
  unit: string,
  bar?: { max?: number; min?: number },
): Row {
  const ratio = value / baseline;
  const text = bar?.max !== undefined ? `≤ ${bar.max}×` : bar?.min !== undefined ? `≥ ${bar.min}×` : '';
  const met = bar === undefined ? undefined : ratio <= (bar.max ?? Infinity) && ratio >= (bar.min ?? 0);
  return { name, measure, value, baseline, unit, ratio, bar: text, met };
}

/** The q-quantile (0 to 1) of the samples, which need not be sorted. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

function cell(value: number): string {
  return value >= 1000 ? value.toFixed(0) : value.toFixed(2);
}

export function printRows(rows: readonly Row[]): void {
  console.table(
    rows.map((row) => ({
      row: row.name,
      what: row.measure,
      ours: `${cell(row.value)} ${row.unit}`,
      baseline: `${cell(row.baseline)} ${row.unit}`,
      ratio: `${row.ratio.toFixed(2)}×`,
      bar: row.bar,
      met: row.met === undefined ? '' : row.met ? 'yes' : 'NO',
    })),
  );
}

/** Writes the figures where scripts find them. */
export function writeRows(rows: readonly Row[], file: string): void {
  mkdirSync('out', { recursive: true });
  const machine = {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memory_bytes: totalmem(),
    node: process.version,
  };
  writeFileSync(file, `${JSON.stringify({ at: new Date().toISOString(), machine, rows }, null, 2)}\n`);
}
