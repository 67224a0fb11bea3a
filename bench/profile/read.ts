import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../../', import.meta.url));

/** A span in microseconds of CLOCK_MONOTONIC. */
export interface Span {
  readonly begin: number;
  readonly end: number;
}

/** Where a process was, from its outermost function inwards, and for how long. */
export interface Stack {
  readonly frames: readonly Frame[];
  readonly micros: number;
}

export interface Frame {
  readonly name: string;
  /** Whose code it is: `gate/submit`, `@grpc/grpc-js`, `node:internal/http2`, `native`, `garbage collector`. */
  readonly room: string;
}

/** What the processes of one part of the fleet did: `gate`, `executor`, `client`, `csc run`. */
export interface PartProfile {
  readonly part: string;
  readonly stacks: readonly Stack[];
}

/** As V8 writes it (Chrome DevTools Protocol, Profiler.Profile); times in microseconds. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
      readonly columnNumber: number;
    };
    readonly children?: readonly number[];
  }[];
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/**
 * Reads every .cpuprofile of a directory. Only samples within `spans` count (all, where there are none), so that neither
 * start-up nor baselines do; a process that did nothing meanwhile is left out.
 */
export function readProfiles(directory: string, spans: readonly Span[]): PartProfile[] {
  const parts = new Map<string, Stack[]>();
  for (const file of readdirSync(directory).filter((it) => it.endsWith('.cpuprofile'))) {
    const profile = JSON.parse(readFileSync(join(directory, file), 'utf8')) as CpuProfile;
    const part = toPart(profile);
    if (part === undefined) continue;
    parts.set(part, [...(parts.get(part) ?? []), ...toStacks(profile, spans)]);
  }
  return [...parts].map(([part, stacks]) => ({ part, stacks })).filter(({ stacks }) => stacks.length > 0);
}

// What a process has loaded says what it is.
const marks: readonly (readonly [mark: RegExp, part: string | undefined])[] = [
  // Has made the fleet's keys, and waits.
  [/\/warm-csc\.ts$/, undefined],
  [/command-gate\.cjs$/, 'gate'],
  [/command-executor\.cjs$/, 'executor'],
  [/command-run\.cjs$/, 'csc run'],
  [/command-check\.cjs$/, 'csc check'],
  [/-client\.(?:ts|cjs)$/, 'client'],
  [/\/bench\/main\.ts$/, 'client (and bench)'],
  [/\/main\.cjs$/, 'csc --help'],
  // Simulated executors and the like.
  [/\/bench\/(?:(?!document|rounds|report)[a-z-]+)\.ts$/, 'what is simulated'],
];

function toPart({ nodes }: CpuProfile): string | undefined {
  const urls = [...new Set(nodes.map(({ callFrame }) => callFrame.url))];
  return marks.find(([mark]) => urls.some((url) => mark.test(url)))?.[1];
}

function toStacks({ nodes, samples, timeDeltas, startTime }: CpuProfile, spans: readonly Span[]): Stack[] {
  const frames = new Map(nodes.map((node) => [node.id, toFrame(node.callFrame)]));
  const parents = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  );
  const micros = new Map<number, number>();
  let now = startTime;
  for (const [index, id] of samples.entries()) {
    const taken = timeDeltas[index + 1] ?? 0;
    now += timeDeltas[index] ?? 0;
    if (spans.length === 0 || spans.some(({ begin, end }) => now >= begin && now <= end))
      micros.set(id, (micros.get(id) ?? 0) + taken);
  }
  return [...micros].flatMap(([id, time]) => {
    const path: Frame[] = [];
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const frame = frames.get(at);
      if (frame !== undefined && frame.name !== '(root)') path.unshift(frame);
    }
    const isWork = path.length > 0 && path[0]?.name !== '(idle)' && time > 0;
    return isWork ? [{ frames: toOwned(path), micros: time }] : [];
  });
}

// The engine's own work is nobody's; a native function is whose who called it.
function toOwned(path: readonly Frame[]): Frame[] {
  return path.map((frame, index) => {
    if (frame.room !== '') return frame;
    const caller = path.slice(0, index).findLast(({ room }) => room !== '');
    return { ...frame, room: caller === undefined ? 'native' : `${caller.room} → native` };
  });
}

const engine: ReadonlyMap<string, string> = new Map([
  ['(garbage collector)', 'garbage collector'],
  ['(program)', 'native (no JavaScript on the stack)'],
]);

function toFrame({
  functionName,
  url,
  lineNumber,
  columnNumber,
}: CpuProfile['nodes'][number]['callFrame']): Frame {
  const name = functionName === '' ? '(anonymous)' : functionName;
  const special = engine.get(name);
  if (special !== undefined) return { name, room: special };
  if (url === '' || name === '(idle)' || name === '(root)') return { name, room: '' };
  const { source, line } = toSource(url, lineNumber, columnNumber);
  const place = `${source.split('/').at(-1)}:${line + 1}`;
  return { name: functionName === '' ? place : name, room: toRoom(source) };
}

/** `packages/gate/src/submit/…` is `gate/submit`; of `node_modules`, the package; of Node, two levels. */
function toRoom(source: string): string {
  const own = /packages\/([^/]+)\/(?:src\/([^/]+)(\/)?|)/.exec(source);
  const dependency = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1];
  if (dependency !== undefined && !dependency.startsWith('@csc-fleet')) return dependency;
  if (own !== null) return own[3] === undefined ? `${own[1]}` : `${own[1]}/${own[2]}`;
  if (source.startsWith('node:')) return source.split('/').slice(0, 2).join('/');
  const [first = '', second = ''] = relative(repository, source).split('/');
  return first === 'tests' ? `${first}/${second}` : first === 'out' ? 'bundle' : first;
}

const maps = new Map<string, SourceMap | undefined>();

/** What a place in a bundle was made from; elsewhere the place itself. Lines and columns from 0. */
function toSource(url: string, line: number, column: number): { source: string; line: number } {
  if (!url.startsWith('file:') && !url.startsWith('/')) return { source: url, line };
  const path = url.startsWith('file:') ? fileURLToPath(url) : url;
  if (!maps.has(path)) {
    const file = `${path}.map`;
    maps.set(path, existsSync(file) ? new SourceMap(JSON.parse(readFileSync(file, 'utf8'))) : undefined);
  }
  const entry = maps.get(path)?.findEntry(line, column);
  if (entry === undefined || !('originalSource' in entry)) return { source: path, line };
  return { source: join(dirname(path), entry.originalSource), line: entry.originalLine };
}
