import { execFile } from 'node:child_process';
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { isCscError } from '@csc-fleet/common/errors';
import { narrowLimits } from '@csc-fleet/common/limits';
import { defaultScratchDirectory } from '@csc-fleet/common/processes';
import { type Cgroups, openCgroups, probeCgroups } from '../cgroup/index.ts';
import {
  advised,
  type Check,
  examinePool,
  examineRoots,
  examineTools,
  failed,
  type JobUser,
  type JobUsers,
  passed,
  requireChecks,
  toolPath,
} from '../host/index.ts';
import {
  type BwrapLauncher,
  createBwrapLauncher,
  createPipePool,
  findCscLauncher,
  findPipeMaker,
  prlimitPath,
} from '../launch/index.ts';
import {
  defaultReserve,
  defaultRunLimits,
  type HostFacts,
  type Namespace,
  namespaces,
  planSandbox,
  type RunLimits,
  resolveScopes,
  toRunFacts,
} from '../plan/index.ts';
import { askBwrap, untold, whyCutOff } from './examine-bwrap.ts';
import { defaultBwrapPath, type ProbeOptions, probeHost } from './probe-host.ts';
import { descriptorRemedy, shortageRemedy } from './shortage-remedy.ts';
import { userNamespaceRemedy } from './user-namespace-remedy.ts';

export interface DoctorOptions extends ProbeOptions {
  /** What the host's owner opens to jobs. Default: nothing is asked about it. */
  readonly pathRoots?: readonly string[];
  /** As for the launchers. */
  readonly scratchDirectory?: string;
  /** What its config lets jobs have, with which the whole sandbox is tried. Default: what holds without a config. */
  readonly runLimits?: Partial<RunLimits>;
}

/** Tries everything that a sandbox needs. What depends on a check that failed is left out. */
export async function diagnose(options: DoctorOptions = {}): Promise<Check[]> {
  const tools = examineTools(process.getuid?.() ?? -1);
  if (!tools.ok) return [tools];
  const bwrap = await askBwrap(options.bwrapPath ?? defaultBwrapPath);
  if (bwrap.checks.some(({ ok }) => !ok)) return [tools, ...bwrap.checks];
  const { facts, check } = await tryProbe(options);
  if (facts === undefined) return [tools, ...bwrap.checks, check];
  const basics = await Promise.all([
    tryUserDrops(facts),
    tryPrlimit(facts),
    tryPipes(options),
    ...namespaces.map((namespace) => tryNamespace(facts, namespace)),
    tryNesting(facts),
  ]);
  const roots = options.pathRoots ?? [];
  basics.push(...examinePool(facts.jobUsers, roots), ...examineRoots(facts.jobUsers, roots));
  basics.push(...tryCgroups(facts, options), tryFilter(facts));
  const whole = basics.every(({ ok }) => ok) ? [await tryRecipe(facts, options)] : [];
  return [tools, ...bwrap.checks, check, ...basics, ...whole];
}

/** The host's facts, where every check passes. Throws SANDBOX_UNAVAILABLE with what to do about those that fail. */
export async function requireHost(options: DoctorOptions = {}): Promise<HostFacts> {
  requireChecks(await diagnose(options));
  return await probeHost(options);
}

async function tryProbe(options: DoctorOptions): Promise<{ facts?: HostFacts; check: Check }> {
  try {
    // Cgroups have a check of their own.
    const facts = await probeHost({ ...options, acceptRlimitsOnly: true });
    return { facts, check: passed('job-user', describeUsers(facts.jobUsers)) };
  } catch (error) {
    // A file that the config names and that cannot be used is no fault of the host.
    if (!isCscError(error, 'SANDBOX_UNAVAILABLE')) throw error;
    const remedy =
      'set run_as to an account made for jobs (useradd --system --shell /usr/sbin/nologin csc-job makes one), or to auto';
    return { check: failed('job-user', toText(error), remedy) };
  }
}

function describeUsers({ all, pooled }: JobUsers): string {
  const [{ uid, gid, name, group }] = all;
  if (!pooled) return `jobs run as ${name ?? 'an account without a name'} (uid ${uid})`;
  const uids = all.map((user) => user.name ?? user.uid).join(', ');
  return `each run has one of ${all.length} users (${uids}) for itself, with the group ${group ?? gid}`;
}

async function tryUserDrops({ executorUid, jobUsers }: HostFacts): Promise<Check> {
  let check = passed('user-drop', '');
  for (const user of jobUsers.all) {
    check = await tryUserDrop(executorUid, user);
    if (!check.ok) return check;
  }
  return check;
}

async function tryUserDrop(executorUid: number, jobUser: JobUser): Promise<Check> {
  if (executorUid === jobUser.uid)
    return passed('user-drop', 'the executor is not root: jobs run as its own user');
  const { uid, gid } = jobUser;
  const remedy =
    'start the executor with CAP_SETUID and CAP_SETGID, outside any user namespace that lacks this uid';
  const status = await run('cat', ['/proc/self/status'], { uid, gid });
  const ids = new RegExp(`^Uid:(\\t${uid}){4}\\nGid:(\\t${gid}){4}$`, 'm');
  if (status.ok && ids.test(status.text) && /^Groups:\s*$/m.test(status.text)) {
    return passed('user-drop', `a process can become uid ${uid} with no groups`);
  }
  return failed('user-drop', `a process cannot become uid ${uid}`, remedy);
}

async function tryPrlimit({ executorUid, jobUsers }: HostFacts): Promise<Check> {
  const [{ uid, gid }] = jobUsers.all;
  const ids = executorUid === uid ? {} : { uid, gid };
  const remedy = descriptorRemedy();
  if (remedy !== undefined) return failed('rlimits', 'a sandbox takes more file descriptors', remedy);
  const limited = await run(prlimitPath, ['--core=0', '--', 'true'], ids);
  if (limited.ok) return passed('rlimits', `${prlimitPath} sets a job's rlimits`);
  if (limited.cutOff !== undefined)
    return untold('rlimits', `${prlimitPath} sets a job's rlimits`, limited.cutOff);
  return failed('rlimits', `${prlimitPath} does not run: ${limited.text}`, 'install util-linux');
}

// Without them only if the operator has said that rlimits will do.
function tryCgroups({ cgroups }: HostFacts, { acceptRlimitsOnly = false }: DoctorOptions): Check[] {
  if (cgroups !== 'none' || !acceptRlimitsOnly) return probeCgroups();
  return [passed('cgroups', 'none: jobs are limited by rlimits only, as accept_rlimits_only says')];
}

function tryFilter({ seccomp }: HostFacts): Check {
  return passed('seccomp', `${seccomp.programs.length} system call filter(s), sha256 ${seccomp.sha256}`);
}

function tryPipes(options: DoctorOptions): Check {
  const directory = options.scratchDirectory ?? defaultScratchDirectory();
  const maker = findPipeMaker();
  try {
    const pipePool = createPipePool({ directory, maker, batch: 1 });
    const { read, write } = pipePool.take();
    closeSync(read);
    closeSync(write);
    pipePool.close();
    if (maker.name === 'csc-launcher')
      return passed('pipes', `csc-launcher makes pipes, with a file in ${directory}`);
    const detail = `${maker.name} makes pipes, with a file in ${directory}: no csc-launcher, or one that others can change`;
    return advised('pipes', detail, compileRemedy);
  } catch (error) {
    return failed(
      'pipes',
      toText(error),
      `${compileRemedy}, or install perl; and make ${directory} writable`,
    );
  }
}

const compileRemedy = 'for jobs that start faster, install a C compiler and run `make setup`';

async function tryNamespace(facts: HostFacts, namespace: Namespace): Promise<Check> {
  const name = `namespace-${namespace}`;
  const result = await runBwrap(facts, ['--unshare-user', `--unshare-${namespace}`]);
  const had = `${namespace === 'ipc' ? 'an' : 'a'} ${namespace} namespace can be had`;
  if (result.ok) return passed(name, had);
  if (result.cutOff !== undefined) return untold(name, had, result.cutOff);
  const remedy = shortageRemedy({ text: result.text, namespace }) ?? userNamespaceRemedy();
  return failed(name, `no ${namespace} namespace: ${result.text}`, remedy);
}

async function tryNesting(facts: HostFacts): Promise<Check> {
  const options = ['--unshare-user', '--disable-userns', '--assert-userns-disabled'];
  const result = await runBwrap(facts, options);
  if (result.ok) return passed('nested-namespaces', 'user namespaces can be closed to jobs');
  if (result.cutOff !== undefined)
    return untold('nested-namespaces', 'user namespaces can be closed to jobs', result.cutOff);
  return failed(
    'nested-namespaces',
    `user namespaces stay open to jobs: ${result.text}`,
    shortageRemedy({ text: result.text, namespace: 'user' }) ?? userNamespaceRemedy(),
  );
}

const maskedRemedy =
  'in a container, /proc must not be masked (Docker: --security-opt systempaths=unconfined)';

// The whole way, with everything that a real run has.
async function tryRecipe(
  hostFacts: HostFacts,
  { scratchDirectory, runLimits }: DoctorOptions,
): Promise<Check> {
  const facts = toRunFacts(hostFacts);
  const policy = { allowed_cwd_prefixes: ['/'], allowed_read_prefixes: [], allowed_write_prefixes: [] };
  const scopes = resolveScopes({ cwd: '/', readPaths: [], writePaths: [], policy }, facts);
  const cgroups: { cgroups?: Cgroups } =
    facts.cgroups === 'none' ? {} : { cgroups: openCgroups({ reserve: defaultReserve }) };
  const launcher = createBwrapLauncher({
    facts,
    ...cgroups,
    ...(scratchDirectory === undefined ? {} : { scratchDirectory }),
  });
  try {
    const limits = narrowLimits({ ...defaultRunLimits(), ...runLimits }, cgroups.cgroups?.most ?? {});
    const plan = planSandbox(facts, scopes, {
      environment: {},
      network: 'deny',
      limits,
      secrets: [],
      unixSockets: true,
    });
    const command = launcher.launch({
      segments: [{ argv: ['true'] }],
      place: { kind: 'sandbox', plan, scopes, user: facts.jobUser },
      hold: false,
    });
    command.stdout.resume();
    command.stderr.resume();
    const outcome = await command.exited;
    const ran = outcome.kind === 'exited' && outcome.segments.every(({ exitCode }) => exitCode === 0);
    if (ran) return passed('sandbox', `a command ran in the whole sandbox; ${await describeStart(launcher)}`);
    const text = 'message' in outcome ? outcome.message : 'true failed in the sandbox';
    return failed('sandbox', text, shortageRemedy({ text, rlimits: plan.rlimits }) ?? maskedRemedy);
  } finally {
    launcher.close();
    scopes.close();
  }
}

// docs/launcher.md has what each of them costs.
async function describeStart(launcher: BwrapLauncher): Promise<string> {
  if (findCscLauncher() === undefined) return 'jobs are started by Debian’s own tools (no csc-launcher)';
  // It was started a moment ago.
  for (let waitedMs = 0; launcher.stayingPid() === undefined && waitedMs < 1000; waitedMs += 20)
    await sleep(20);
  return launcher.stayingPid() === undefined
    ? 'jobs are started by a csc-launcher for each'
    : 'jobs are started by the csc-launcher that stays';
}

async function runBwrap(
  { bwrapPath, executorUid, jobUsers }: HostFacts,
  options: readonly string[],
): Promise<Ran> {
  const [{ uid, gid }] = jobUsers.all;
  const args = [...options, '--ro-bind', '/', '/', '--', 'true'];
  return await run(bwrapPath, args, executorUid === uid ? {} : { uid, gid });
}

interface Ran {
  readonly ok: boolean;
  /** Its output, or the last line of what it had to say about its failure. */
  readonly text: string;
  /** As of `whyCutOff`. */
  readonly cutOff?: string;
}

async function run(
  program: string,
  args: readonly string[],
  ids: { uid?: number; gid?: number },
): Promise<Ran> {
  try {
    const { stdout } = await promisify(execFile)(program, args, {
      ...ids,
      cwd: '/',
      env: { PATH: toolPath },
    });
    return { ok: true, text: stdout };
  } catch (error) {
    const text = toText(error).trim().split('\n').at(-1) ?? '';
    const cutOff = whyCutOff(error);
    return { ok: false, text, ...(cutOff === undefined ? {} : { cutOff }) };
  }
}

function toText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
