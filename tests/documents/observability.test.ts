import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { InstrumentTable } from '@csc-fleet/common/telemetry';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { executorInstruments } from '../../packages/executor/src/telemetry/instruments.ts';
import { gateInstruments } from '../../packages/gate/src/telemetry/instruments.ts';

const root = join(import.meta.dirname, '..', '..');
const deploy = join(root, 'deploy');
const table: InstrumentTable = { ...gateInstruments, ...executorInstruments };

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets?: readonly { readonly expr: string }[];
  }[];
}
interface Rules {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly annotations?: Readonly<Record<string, string>>;
    }[];
  }[];
}

const dashboard: Dashboard = JSON.parse(readFileSync(join(deploy, 'grafana', 'csc-fleet.json'), 'utf8'));
const rules: Rules = parse(readFileSync(join(deploy, 'prometheus', 'csc-alerts.yaml'), 'utf8'));
const alerts = rules.groups.flatMap((group) => group.rules);
const queries = [
  ...dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const)),
  ...alerts.map(({ alert, expr }) => [alert, expr] as const),
];

/** As an exporter names it: a histogram has no series of its own name. */
function isShown(metric: string): boolean {
  const facts = table[metric];
  if (facts !== undefined) return facts.kind !== 'histogram';
  return table[metric.replace(/_(bucket|count|sum)$/, '')]?.kind === 'histogram';
}

// What Prometheus adds.
const added = ['job', 'instance', 'le'];

/** What a query asks of labels: in braces, and after `by`. */
function labelsIn(expr: string): string[] {
  const matched = [...expr.matchAll(/\{([^}]*)\}/g)].flatMap(([, matchers = '']) =>
    [...matchers.matchAll(/([a-z_]+)\s*(?:=~|!~|!=|=)/g)].map(([, label = '']) => label),
  );
  const grouped = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, labels = '']) => labels.split(/,\s*/));
  return [...matched, ...grouped];
}

describe('what deploy/ asks for', () => {
  it.each(queries)('%s: of metrics and labels that there are', (_name, expr) => {
    const metrics = expr.match(/\bcsc_[a-z_]+\b(?!")/g) ?? [];
    expect(metrics.filter((it) => !isShown(it))).toEqual([]);
    if (metrics.length === 0) expect(expr).toContain('up{');
    const known = new Set([
      ...added,
      ...metrics.flatMap((it) => {
        const facts = table[it] ?? table[it.replace(/_(bucket|count|sum)$/, '')];
        return Object.keys(facts?.labels ?? {});
      }),
    ]);
    expect(labelsIn(expr).filter((it) => !known.has(it))).toEqual([]);
  });

  it('says what happened and what to do about it, with every alert', () => {
    for (const { alert, annotations } of alerts) {
      expect(annotations?.['summary'], alert).toMatch(/\w/);
      expect(annotations?.['runbook']?.length ?? 0, alert).toBeGreaterThan(40);
    }
  });
});

describe('what instruments are called', () => {
  it.each(Object.entries(table))(
    '%s: as OpenTelemetry and Prometheus have it',
    (name, { kind, unit, labels = {} }) => {
      expect(name).toMatch(/^csc_[a-z0-9_]+$/);
      expect(name.endsWith('_total')).toBe(kind === 'counter' || kind === 'total');
      if (unit === 's') expect(name).toMatch(/_seconds(_total)?$/);
      if (unit === 'By') expect(name).toMatch(/_bytes(_total)?$/);
      for (const [label, facts] of Object.entries(labels))
        expect('most' in facts ? facts.most : facts.values.length, label).toBeLessThan(512);
    },
  );
});

describe('the SDK of OpenTelemetry', () => {
  it('is loaded by who shows metrics alone: whatever imports it is itself imported when somebody asks for it', () => {
    const sources = execFileSync('git', ['ls-files', 'packages/*/src/*.ts'], { cwd: root, encoding: 'utf8' })
      .split('\n')
      .filter((it) => it !== '' && !it.endsWith('.test.ts'));
    const imports = (pattern: RegExp): string[] =>
      sources.filter((it) => pattern.test(readFileSync(join(root, it), 'utf8')));
    const users = imports(/from '@opentelemetry\/(?:sdk-metrics|exporter-prometheus)'/);
    expect(users).toEqual(['packages/common/src/telemetry/prometheus.ts']);
    expect(imports(/from '[^']*\/prometheus(?:\.ts)?'/)).toEqual([]);
    expect(imports(/await import\('\.\/prometheus\.ts'\)/)).toEqual([
      'packages/common/src/telemetry/open-metrics.ts',
    ]);
  });
});

describe('promtool', () => {
  // A missing tool is no reason to pass.
  const promtool = (): string => {
    const own = join(root, 'out', 'promtool', 'usr', 'bin', 'promtool');
    return existsSync(own) ? own : 'promtool';
  };
  const run = (...args: string[]): string =>
    execFileSync(promtool(), args, { cwd: join(deploy, 'prometheus'), encoding: 'utf8' });

  it('finds nothing wrong with the alerts, and each fires when it is to (scripts/setup.sh tests brings promtool)', () => {
    expect(run('check', 'rules', 'csc-alerts.yaml')).toContain(`SUCCESS: ${alerts.length} rules found`);
    expect(run('test', 'rules', 'csc-alerts.test.yaml')).toContain('SUCCESS');
    const played = readFileSync(join(deploy, 'prometheus', 'csc-alerts.test.yaml'), 'utf8');
    for (const { alert } of alerts) expect(played).toContain(`alertname="${alert}"`);
  });
});
