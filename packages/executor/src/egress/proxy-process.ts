import { closeSync, existsSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CscError } from '@csc-fleet/common/errors';
import { defaultScratchDirectory } from '@csc-fleet/common/processes';
import { type JobUser, openContent } from '@csc-fleet/sandbox/host';
import {
  findCscConfine,
  type Launcher,
  type LaunchOutcome,
  type OutputReadable,
  pipelineExit,
  type SandboxPlace,
} from '@csc-fleet/sandbox/launch';
import {
  type HostFacts,
  type Mount,
  planSandbox,
  type ResolvedScopes,
  type RunLimits,
  type SandboxPlan,
  toRunFacts,
} from '@csc-fleet/sandbox/plan';
import { ownFilter } from '@csc-fleet/sandbox/seccomp';
import type { EgressEntry } from './allow-list.ts';
import { numbers, type ProxyOrders } from './proxy-orders.ts';
import { proxyProgram } from './proxy-program.ts';
import { type ProxyWord, ProxyWords } from './proxy-words.ts';
import type { HeldListener } from './sandbox-side.ts';

/** What proxies are made with. */
export interface ProxyWorkshop {
  readonly facts: HostFacts;
  readonly launcher: Launcher;
  /** Whom it runs as: neither a user of the jobs nor root, unless the executor itself is no other. */
  readonly user: JobUser;
  readonly limits: RunLimits;
  /** Where csc-confine is; null: it does without. Default: where `findCscConfine` finds it. */
  readonly confine?: string | null;
}

/** The process of one proxy. */
export interface ProxyProcess {
  /** Resolves when it takes connections. Throws SANDBOX_UNAVAILABLE. */
  readonly ready: Promise<void>;
  /** Resolves with why, when no process of it is left and all that it said was heard. Never rejects. */
  readonly ended: Promise<string>;
  /** Ends it, with its connections. Resolves as `ended`. */
  stop(): Promise<unknown>;
}

const mebibyte = 1024 * 1024;

/** What one proxy may use up, whatever a job has it do: 256 connections to and fro, with what waits in each. */
export const proxyLimits: RunLimits = {
  memory_bytes: 512 * mebibyte,
  processes: 64,
  cpu_millis: 1000,
  open_files: 1024,
  file_bytes: mebibyte,
  tmp_bytes: mebibyte,
  write_bytes: 0,
  write_files: 0,
  artifact_bytes: 0,
  artifact_sec: 0,
};

const programPath = '/run/csc/proxy.cjs';

/** What starts Node there: bwrap itself is told of no program that only a descriptor leads to. */
export const startNode = ['/usr/bin/env', `/proc/self/fd/${numbers.node}`] as const;
// Its heap is bounded by itself as well: it ends with words, which an out-of-memory kill has none of.
const argv = [...startNode, '--max-old-space-size=192', programPath];

// It takes a tenth of a second.
const mostStartMs = 30_000;

/**
 * Starts a proxy in a sandbox such as those of the jobs: with the host's network, and with nothing else of the host but
 * what programs are started and names are resolved with. It is no user of the jobs, and gets a narrower filter.
 */
export function startProxy(
  workshop: ProxyWorkshop,
  given: { readonly lists: readonly (readonly EgressEntry[])[]; readonly listeners: readonly HeldListener[] },
  hear: (word: ProxyWord) => void,
): ProxyProcess {
  const files = openProxyFiles(workshop);
  const listeners = given.listeners.map(({ fd }, index) => [numbers.listeners + index, fd] as const);
  const orders: ProxyOrders = {
    lists: given.lists,
    listeners: listeners.map(([number]) => number),
    confine: files.passed.has(numbers.module) ? `/proc/self/fd/${numbers.module}` : null,
  };
  const launched = orClose(files, () => {
    files.passed.set(numbers.orders, openUnnamed(JSON.stringify(orders)));
    return workshop.launcher.launch({
      segments: [{ argv }],
      place: toProxyPlace(workshop),
      passed: new Map([...files.passed, ...listeners]),
      hold: false,
    });
  });
  const ready = Promise.withResolvers<void>();
  // Whoever waits for it is told; for one that takes the place of another nobody waits.
  ready.promise.catch(() => undefined);
  const patience = setTimeout(() => launched.terminate(0), mostStartMs);
  const words = new ProxyWords({
    hear(word) {
      if (!('ready' in word)) return hear(word);
      clearTimeout(patience);
      ready.resolve();
    },
    distrust: () => launched.terminate(0),
  });
  const complaint = readComplaint(launched.stderr);
  const ended = listenTo(launched.stdout, words).then(async () => {
    const outcome = await launched.exited;
    clearTimeout(patience);
    files.close();
    const why = 'message' in outcome ? outcome.message : (await complaint) || describeEnd(outcome);
    ready.reject(new CscError('SANDBOX_UNAVAILABLE', `the proxy of its network cannot be started: ${why}`));
    return why;
  });
  return {
    ready: ready.promise,
    ended,
    stop: () => {
      launched.terminate(0);
      return ended;
    },
  };
}

// A host that has too few descriptors for another one must not have fewer with each that it tries.
function orClose<Value>(files: ProxyFiles, act: () => Value): Value {
  try {
    return act();
  } catch (error) {
    files.close();
    throw error;
  }
}

function openUnnamed(content: string | Buffer): number {
  return openContent(content, defaultScratchDirectory());
}

/** What a proxy gets beside its sockets and orders, by its numbers there. */
export interface ProxyFiles {
  readonly passed: Map<number, number>;
  close(): void;
}

/** Throws what open(2) does; nothing stays open then. */
export function openProxyFiles({
  confine: module = findCscConfine() ?? null,
}: Pick<ProxyWorkshop, 'confine'>): ProxyFiles {
  const passed = new Map<number, number>();
  const close = (): void => {
    for (const fd of passed.values()) closeSync(fd);
    passed.clear();
  };
  const filter = ownFilter('started');
  try {
    passed.set(numbers.node, openSync(process.execPath, 'r'));
    if (module !== null && filter !== undefined) {
      passed.set(numbers.module, openSync(module, 'r'));
      passed.set(numbers.filter, openUnnamed(filter));
    }
    return { passed, close };
  } catch (error) {
    close();
    throw error;
  }
}

const nothing: ResolvedScopes = {
  binds: [],
  writes: [],
  directories: [],
  masks: [],
  unlisted: [],
  links: [],
  cwd: '/',
  notes: [],
  closed: [],
  hints: [],
  fixed: [],
  missing: [],
  close: () => undefined,
};

/** Where a proxy runs. */
export function toProxyPlace(workshop: ProxyWorkshop): SandboxPlace {
  return { kind: 'sandbox', plan: toPlan(workshop), scopes: nothing, user: workshop.user };
}

// By these it resolves names as every program of this host does; what a job sees in their place is made up.
const resolverFiles = ['/etc/hosts', '/etc/nsswitch.conf'];

function toPlan({ facts, user, limits }: ProxyWorkshop): SandboxPlan {
  const plan = planSandbox(toRunFacts(facts, user, 0o077), nothing, {
    environment: {},
    network: 'full',
    limits,
    secrets: [],
    unixSockets: false,
    files: [{ destination: programPath, mode: 0o444, content: proxyProgram }],
  });
  const { sha256, programs } = facts.seccomp.proxy;
  const { nproc: _, ...rlimits } = plan.rlimits;
  return {
    ...plan,
    seccomp: { sha256, programs: programs.length },
    // It counts the threads of all proxies of this host together (setrlimit(2)); processes they make none.
    rlimits,
    mounts: plan.mounts.flatMap((mount): Mount[] => {
      const { kind, destination } = mount;
      if (kind !== 'data' || !resolverFiles.includes(destination)) return [mount];
      return existsSync(destination) ? [{ kind: 'host', source: destination, destination }] : [];
    }),
  };
}

// What a proxy may say a second: ten thousand verdicts, more than it can come to honestly. One that says more waits.
const bytesASecond = mebibyte;

/** Resolves when all is read. */
async function listenTo(stdout: OutputReadable, words: ProxyWords): Promise<void> {
  let since = performance.now();
  let room = bytesASecond;
  for await (const chunk of stdout) {
    words.push(chunk);
    room -= chunk.length;
    stdout.recycle(chunk);
    if (room > 0) continue;
    await sleep(Math.max(0, 1000 - (performance.now() - since)));
    since = performance.now();
    room = bytesASecond;
  }
}

const mostComplaint = 500;

// Read to its end, and its beginning kept: why Node could not start, or what it ended of.
async function readComplaint(stderr: OutputReadable): Promise<string> {
  let text = '';
  for await (const chunk of stderr) {
    if (text.length < mostComplaint) text += String(chunk);
    stderr.recycle(chunk);
  }
  return text.slice(0, mostComplaint).replace(/\s+/g, ' ').trim();
}

function describeEnd(outcome: LaunchOutcome): string {
  if (outcome.kind !== 'exited') return outcome.kind;
  const { exitCode, signal } = pipelineExit(outcome.segments);
  return outcome.oomKills === undefined ? (signal ?? `exit code ${exitCode}`) : 'it was out of memory';
}
