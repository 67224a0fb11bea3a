import type { Readable } from 'node:stream';
import { type Cgroups, openCgroups } from '../../../packages/sandbox/src/cgroup/open-cgroups.ts';
import type {
  LaunchedProcess,
  Launcher,
  LaunchOutcome,
  LaunchSpec,
} from '../../../packages/sandbox/src/launch/launcher.ts';
import type { RunFacts } from '../../../packages/sandbox/src/plan/facts.ts';
import { planSandbox } from '../../../packages/sandbox/src/plan/plan.ts';
import { resolveScopes } from '../../../packages/sandbox/src/plan/resolve-scopes.ts';
import type { ScopeRequest } from '../../../packages/sandbox/src/plan/scopes.ts';
import { makeCommand } from './plan.ts';

/** What came of a command that was run to its end. */
export interface Run {
  readonly outcome: LaunchOutcome;
  readonly stdout: string;
  readonly stderr: string;
}

/** Reads a launched command to its end. */
export async function finish(launched: LaunchedProcess): Promise<Run> {
  const [stdout, stderr, outcome] = await Promise.all([
    readText(launched.stdout),
    readText(launched.stderr),
    launched.exited,
  ]);
  return { outcome, stdout, stderr };
}

/** The exit codes of an outcome, or what it is instead. */
export function codesOf(outcome: LaunchOutcome): number[] | string {
  return outcome.kind === 'exited' ? outcome.segments.map(({ exitCode }) => exitCode) : outcome.kind;
}

/** Runs commands in sandboxes that see `scopes`. */
export interface SandboxRunner {
  readonly launcher: Launcher;
  launch(argvs: readonly (readonly string[])[], scopes: TestScopes, hold?: boolean): Promise<LaunchedProcess>;
  /** One program, to its end. */
  run(argv: readonly string[], scopes?: TestScopes): Promise<Run>;
}

export interface TestScopes extends Partial<Pick<ScopeRequest, 'cwd' | 'readPaths' | 'writePaths'>> {
  readonly environment?: Readonly<Record<string, string>>;
  /** What the policy allows for everything. Default: all. */
  readonly prefixes?: readonly string[];
  /** Called between the scopes' check and the launch. */
  readonly meanwhile?: () => void;
}

export function createSandboxRunner(facts: RunFacts, launcher: Launcher): SandboxRunner {
  const launch: SandboxRunner['launch'] = async (argvs, scopes, hold = false) => {
    const { spec, close } = prepare(facts, argvs, scopes, hold);
    const launched = launcher.launch(spec);
    void launched.exited.then(close);
    return launched;
  };
  return { launcher, launch, run: async (argv, scopes = {}) => await finish(await launch([argv], scopes)) };
}

function prepare(
  facts: RunFacts,
  argvs: readonly (readonly string[])[],
  { cwd = '/', readPaths = [], writePaths = [], prefixes = ['/'], environment = {}, meanwhile }: TestScopes,
  hold: boolean,
): { spec: LaunchSpec; close: () => void } {
  const policy = {
    allowed_cwd_prefixes: prefixes,
    // A cwd that the policy lets be read would be a scope of its own.
    allowed_read_prefixes: prefixes,
    allowed_write_prefixes: prefixes,
  };
  const scopes = resolveScopes({ cwd, readPaths, writePaths, policy }, facts);
  meanwhile?.();
  const plan = planSandbox(facts, scopes, makeCommand({ environment }));
  const segments = argvs.map((argv) => ({ argv }));
  return {
    spec: { segments, place: { kind: 'sandbox', plan, scopes, user: facts.jobUser }, hold },
    close: scopes.close,
  };
}

async function readText(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** Groups for a launcher under test, which closes them. */
export function openTestGroups(): Cgroups {
  return openCgroups({ reserve: { memory_bytes: 0, cpu_millis: 0 } });
}
