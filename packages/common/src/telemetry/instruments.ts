import type { Attributes, Meter, ObservableResult } from '@opentelemetry/api';

/** What a label may say. Prometheus keeps a series for each value, for ever: there is a bound to them all. */
export type LabelFacts = {
  /** Markdown, for docs/observability.md. */
  readonly means: string;
} & (
  | { /** All that there is; anything else is `other`. */ readonly values: readonly string[] }
  | { /** The first so many values since the start; later ones are `other`. */ readonly most: number }
);

/** What is known of an instrument: the meter's instruments and docs/observability.md are made of it. */
export interface InstrumentFacts {
  /** What a gauge and a total are is asked when somebody looks; the others are told as it happens. */
  readonly kind: 'counter' | 'histogram' | 'gauge' | 'total';
  /** As UCUM has it. Absent: a number of things, or a state. */
  readonly unit?: 's' | 'By' | 'd';
  /** Markdown. */
  readonly means: string;
  readonly labels?: Readonly<Record<string, LabelFacts>>;
  /** Upper bounds, of a histogram. */
  readonly buckets?: readonly number[];
}

/** For histograms of seconds, of what takes a millisecond as of what takes half an hour. */
export const secondBuckets = [
  ...[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  ...[10, 30, 60, 300, 1800],
];

/** Instruments by name, which is Prometheus's: `csc_runs_total`. */
export type InstrumentTable = Readonly<Record<string, InstrumentFacts>>;

type NamesOf<Table extends InstrumentTable, Kind extends InstrumentFacts['kind']> = {
  [Name in keyof Table]: Table[Name]['kind'] extends Kind ? Name : never;
}[keyof Table] &
  string;

type LabelsOf<Facts> = Facts extends { readonly labels: infer Labels }
  ? { readonly [Name in keyof Labels]: string }
  : Readonly<Record<never, string>>;

/** Says one value, with its labels. Of what has the same labels, the sum is shown. */
export type Say<Facts> = (value: number, labels: LabelsOf<Facts>) => void;

/** The one way to a service's metrics: what is not in its table cannot be told. */
export interface Instruments<Table extends InstrumentTable> {
  add<Name extends NamesOf<Table, 'counter'>>(name: Name, labels: LabelsOf<Table[Name]>, by?: number): void;
  record<Name extends NamesOf<Table, 'histogram'>>(
    name: Name,
    labels: LabelsOf<Table[Name]>,
    value: number,
  ): void;
  /** `read` is called whenever somebody looks; what it throws costs this one instrument its value. */
  observe<Name extends NamesOf<Table, 'gauge' | 'total'>>(
    name: Name,
    read: (say: Say<Table[Name]>) => void,
  ): void;
}

// Whatever it is that a peer is called.
const longestValue = 256;

/** Makes a table's instruments with an OpenTelemetry meter, whichever SDK is behind it, or none. */
export function createInstruments<Table extends InstrumentTable>(
  meter: Meter,
  table: Table,
): Instruments<Table> {
  const bound = createBound(table);
  const optionsOf = (name: string) => {
    const { means, unit, buckets } = table[name] ?? { means: '' };
    return {
      description: plainText(means),
      ...(unit === undefined ? {} : { unit }),
      ...(buckets === undefined ? {} : { advice: { explicitBucketBoundaries: [...buckets] } }),
    };
  };
  const named = (kind: InstrumentFacts['kind']) =>
    Object.keys(table).filter((name) => table[name]?.kind === kind);
  const counters = new Map(named('counter').map((it) => [it, meter.createCounter(it, optionsOf(it))]));
  // There from the start, so that the first time that it happens is seen to be one more than none.
  for (const [name, counter] of counters) if (table[name]?.labels === undefined) counter.add(0);
  const histograms = new Map(named('histogram').map((it) => [it, meter.createHistogram(it, optionsOf(it))]));
  return {
    add: (name, labels, by = 1) => counters.get(name)?.add(by, bound(name, labels)),
    record: (name, labels, value) => histograms.get(name)?.record(value, bound(name, labels)),
    observe: (name, read) => {
      const isTotal = table[name]?.kind === 'total';
      const instrument = isTotal
        ? meter.createObservableCounter(name, optionsOf(name))
        : meter.createObservableGauge(name, optionsOf(name));
      instrument.addCallback((result) => {
        const sums = new Sums();
        read((value, labels) => sums.add(value, bound(name, labels)));
        sums.tell(result);
      });
    },
  };
}

/** Of a table, the values that labels may have: what is one too many is `other`. */
function createBound(table: InstrumentTable): (name: string, labels: object) => Attributes {
  const known = new Map<string, Set<string>>();
  const boundValue = (label: string, facts: LabelFacts, given: string): string => {
    if ('values' in facts) return facts.values.includes(given) ? given : 'other';
    const values = known.get(label) ?? new Set();
    known.set(label, values);
    const value = given.slice(0, longestValue);
    if (!values.has(value) && values.size >= facts.most) return 'other';
    values.add(value);
    return value;
  };
  return (name, labels) => {
    const given = new Map(Object.entries(labels));
    const facts = Object.entries(table[name]?.labels ?? {});
    return Object.fromEntries(
      facts.map(([label, it]) => [label, boundValue(label, it, given.get(label) ?? '')]),
    );
  };
}

class Sums {
  readonly #sums = new Map<string, { value: number; readonly labels: Attributes }>();

  add(value: number, labels: Attributes): void {
    const key = JSON.stringify(labels);
    const known = this.#sums.get(key);
    if (known === undefined) this.#sums.set(key, { value, labels });
    else known.value += value;
  }

  tell(result: ObservableResult): void {
    for (const { value, labels } of this.#sums.values()) result.observe(value, labels);
  }
}

function plainText(markdown: string): string {
  return markdown.replaceAll('`', '');
}

/** Does what it is given and takes the time of it, also where it fails. */
export type Timed<Stage extends string = string> = <Value>(stage: Stage, work: () => Value) => Value;

/** Where nobody asks how long it took. */
export const untimed: Timed = (_stage, work) => work();

/** @param took is told seconds */
export function createTimed<Stage extends string>(
  took: (stage: Stage, seconds: number) => void,
): Timed<Stage> {
  return (stage, work) => {
    const began = performance.now();
    const tell = (): void => took(stage, (performance.now() - began) / 1000);
    let isPending = false;
    try {
      const value = work();
      if (!(value instanceof Promise)) return value;
      isPending = true;
      // Whoever waits for it hears of its failure.
      value.then(tell, tell);
      return value;
    } finally {
      if (!isPending) tell();
    }
  };
}
