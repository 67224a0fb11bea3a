import { readdirSync, readFileSync } from 'node:fs';
import { CscError } from '@csc-fleet/common/errors';
import { defaultScratchDirectory } from '@csc-fleet/common/processes';
import type { Cgroups } from '../cgroup/index.ts';
import { createSharedContent, openNameKey, toUntoldName } from '../host/index.ts';
import { findExecutable, findTooLong, type HostFacts, toRunFacts } from '../plan/index.ts';
import { findCscLauncher } from './csc-launcher.ts';
import { createEtcTree } from './etc-tree.ts';
import { type BwrapKit, launchInBwrap } from './launch-in-bwrap.ts';
import type { LaunchedProcess, Launcher, LaunchSpec, SandboxPlace } from './launcher.ts';
import { findPipeMaker } from './pipe-batch.ts';
import { createPipePool } from './pipe-pool.ts';
import { StayingLauncher } from './staying-launcher.ts';
import { endedProcess, orInfrastructure } from './supervise.ts';

export interface BwrapLauncherOptions {
  readonly facts: HostFacts;
  /** Where jobs are counted and limited. Absent only where the facts say that there is no such place. */
  readonly cgroups?: Cgroups;
  /** Where files live that lose their name at once. Default: memory where the system has such a place. */
  readonly scratchDirectory?: string;
  /** Where csc-launcher is; null: other tools stand in for it. Default: where `findCscLauncher` finds it. */
  readonly launcher?: string | null;
  /** False: csc-launcher does not stay, and everything is started from this process. Default: true. */
  readonly stays?: boolean;
  /** True: for one run, one command at a time; only what that needs is made ahead. Default: false. */
  readonly once?: boolean;
}

export interface BwrapLauncher extends Launcher {
  /** Of the csc-launcher that stays; undefined where none is ready, and what is started is started from this process. */
  stayingPid(): number | undefined;
}

/**
 * Runs commands in bwrap sandboxes. Must be used on the main thread: the sandboxes die with the thread that made them
 * (prctl(2), PR_SET_PDEATHSIG). Throws SANDBOX_UNAVAILABLE where this process was started with too many open files.
 */
export function createBwrapLauncher(options: BwrapLauncherOptions): BwrapLauncher {
  const { facts } = options;
  const scratchDirectory = options.scratchDirectory ?? defaultScratchDirectory();
  const inherited = checkInherited(findInheritedDescriptors());
  const names = openNameKey(scratchDirectory);
  const launcherPath = options.launcher === undefined ? findCscLauncher() : (options.launcher ?? undefined);
  const mark = (): string => toUntoldName(names.key);
  const staying =
    launcherPath === undefined || options.stays === false
      ? undefined
      : new StayingLauncher(launcherPath, mark, options.once === true ? 1 : undefined);
  const pipePool = createPipePool({
    directory: scratchDirectory,
    maker: findPipeMaker(launcherPath),
    ...(staying === undefined ? {} : { staying }),
    ...(options.once === true ? { ahead: 4 } : {}),
  });
  const kit: BwrapKit = {
    facts,
    ...(options.cgroups === undefined ? {} : { cgroups: options.cgroups }),
    pipePool,
    content: createSharedContent(scratchDirectory),
    etc: createEtcTree(facts.etc, scratchDirectory, names.key),
    scratchDirectory,
    inherited,
    mark,
    ...(staying === undefined ? {} : { staying }),
    ...(launcherPath === undefined ? {} : { launcherPath }),
  };
  return {
    launch(spec) {
      const { place } = spec;
      if (place.kind !== 'sandbox') throw new TypeError('the bwrap launcher runs nothing outside a sandbox');
      return findRefusal(kit, spec, place) ?? orInfrastructure(() => launchInBwrap(kit, spec, place));
    },
    stayingPid: () => staying?.pid,
    close() {
      staying?.close();
      kit.pipePool.close();
      names.close();
      kit.content.close();
      kit.etc.close();
      kit.cgroups?.close();
    },
  };
}

// bwrap closes what it is told about; it is told of these by giving them numbers of its own. Every plan has at least
// its args, its status, its block, a filter and five made-up files.
const closable = 9;

function checkInherited(inherited: readonly number[]): readonly number[] {
  if (inherited.length <= closable) return inherited;
  throw new CscError(
    'SANDBOX_UNAVAILABLE',
    `the executor was started with ${inherited.length} files open that jobs would inherit; start it with none but 0, 1 and 2`,
  );
}

function findRefusal(
  { facts }: BwrapKit,
  { segments }: LaunchSpec,
  place: SandboxPlace,
): LaunchedProcess | undefined {
  const look = (program: string) =>
    findExecutable(program, place.plan, place.scopes, toRunFacts(facts, place.user));
  const find = place.findProgram ?? look;
  for (const { argv } of segments) {
    const tooLong = findTooLong(argv, place.plan.environment);
    if (tooLong !== undefined) return endedProcess({ kind: 'not_started', ...tooLong });
    const found = find(argv[0] ?? '');
    if (found.code !== 0) return endedProcess({ kind: 'not_started', ...found });
  }
  return undefined;
}

const closeOnExec = 0o2000000;

/**
 * Descriptors of this process, from 3 on, that its children would inherit: its own parent left them open. Node sets
 * close-on-exec on all that it opens itself, and on inherited ones only as far as they follow without a gap.
 */
function findInheritedDescriptors(): number[] {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => fd > 2 && isInheritable(fd));
}

function isInheritable(fd: number): boolean {
  try {
    const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & closeOnExec) === 0;
  } catch {
    // The one that listed the directory.
    return false;
  }
}
