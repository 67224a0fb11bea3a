import { closeSync, writeFileSync, writeSync } from 'node:fs';
import { setPriority } from 'node:os';
import type { Cgroups, RunGroup } from '../cgroup/index.ts';
import { encodePath, openContent, type SharedContent } from '../host/index.ts';
import {
  bwrapArguments,
  type DescriptorNumbers,
  etcDescriptor,
  type HostFacts,
  numberDescriptors,
  scopeDescriptors,
} from '../plan/index.ts';
import { startBwrap } from './bwrap-segment.ts';
import { type CommandPipes, type Hold, openCommandPipes, openHold } from './command-pipes.ts';
import type { EtcTree } from './etc-tree.ts';
import { judgeBwrap } from './judge-bwrap.ts';
import type { LaunchedProcess, LaunchSpec, SandboxPlace, TerminalEnds } from './launcher.ts';
import { type CommandOutput, OutputStream } from './output-stream.ts';
import type { PipePool } from './pipe-pool.ts';
import { failedSegment, type SegmentProcess } from './segment.ts';
import type { StayingLauncher } from './staying-launcher.ts';
import { noOutput, supervise } from './supervise.ts';
import { TerminalOutput } from './terminal-output.ts';

/** What every launch in bwrap draws on. */
export interface BwrapKit {
  readonly facts: HostFacts;
  /** Absent where the operator has said that rlimits are enough. */
  readonly cgroups?: Cgroups;
  readonly pipePool: PipePool;
  readonly content: SharedContent;
  readonly etc: EtcTree;
  readonly scratchDirectory: string;
  /** csc-launcher; absent where other tools stand in for it. */
  readonly launcherPath?: string;
  /** csc-launcher as it stays; absent: what is started is started from this process. */
  readonly staying?: StayingLauncher;
  /** Makes a mark for what is started, as `sweepLeftovers` reads it. */
  readonly mark: () => string;
  /** Numbers of descriptors that children inherit whether they should or not. */
  readonly inherited: readonly number[];
}

/** Starts one bwrap a segment, all with the same sandbox, joined by pipes. Throws where descriptors run out. */
export function launchInBwrap(kit: BwrapKit, spec: LaunchSpec, place: SandboxPlace): LaunchedProcess {
  const count = spec.segments.length;
  const group = openGroup(kit, place);
  const { hold, ...ends } = openEnds(kit, spec, group, place);
  const { stdout, stderr } = ends;
  // Until the command is let go there is only bwrap, whose words are for the outcome.
  stderr.mute(true);
  let toPass = count;
  const onPassed = (): void => {
    toPass -= 1;
    if (toPass === 0) ends.closePassed();
  };
  const segments = spec.segments.map(({ argv }, index): SegmentProcess => {
    return startSegment(kit, place, {
      argv: ends.toArgv(argv),
      stderr,
      group,
      onPassed,
      passed: spec.passed,
      stdio: ends.stdioOf(index),
      block: hold.block,
    });
  });
  // Where the kernel kills one of its processes for want of memory, the command is over.
  group?.watchOom(() => {
    for (const segment of segments) segment.kill();
  });
  const process = supervise({
    segments,
    stdout,
    stderr,
    hold: spec.hold,
    builds: true,
    letGo: () => writeSync(hold.release, Buffer.alloc(count)),
    processes: () => group?.processes() ?? [],
    oomKills: () => group?.oomKills() ?? 0,
    async cleanUp() {
      hold.close();
      await group?.end();
    },
  });
  return spec.terminal === undefined
    ? process
    : { ...process, stdout: noOutput(), stderr: noOutput(), terminal: stdout };
}

function openGroup({ cgroups }: BwrapKit, { plan }: SandboxPlace): RunGroup | undefined {
  if (plan.cgroup === undefined) return undefined;
  if (cgroups === undefined) throw new TypeError('the plan counts on a cgroup, and the launcher has none');
  return cgroups.create(plan.cgroup);
}

/** What a command reads and writes, on both sides. */
interface Ends extends Pick<CommandPipes, 'stdioOf' | 'closePassed'> {
  readonly stdout: CommandOutput;
  readonly stderr: CommandOutput;
  /** What bwrap starts for a segment. */
  toArgv(argv: readonly string[]): readonly string[];
}

function openEnds(
  { pipePool }: BwrapKit,
  { segments, terminal }: LaunchSpec,
  group: RunGroup | undefined,
  { plan: { credentials } }: SandboxPlace,
): Ends & { hold: Hold } {
  let hold: Hold | undefined;
  try {
    hold = openHold(pipePool);
    if (terminal !== undefined) return { hold, ...openTerminalEnds(terminal) };
    const pipes = openCommandPipes(pipePool, segments.length, credentials);
    const stdout = new OutputStream(pipes.stdout);
    const stderr = new OutputStream(pipes.stderr);
    const { stdioOf, closePassed } = pipes;
    return { hold, stdout, stderr, stdioOf, closePassed, toArgv: (argv) => argv };
  } catch (error) {
    hold?.close();
    void group?.remove();
    throw error;
  }
}

// bwrap has taken the controlling terminal away (--new-session): setsid(1), in there, makes the command's own one of its
// standard input, which is the only terminal that it ever has.
const onTerminal = ['/usr/bin/setsid', '--ctty', '--wait', '--'];

function openTerminalEnds(terminal: TerminalEnds): Ends {
  const shown = new TerminalOutput(terminal);
  const slave = terminal.takeSlave();
  return {
    stdout: shown,
    stderr: shown,
    stdioOf: () => [slave, slave, slave],
    closePassed: () => closeSync(slave),
    toArgv: (argv) => [...onTerminal, ...argv],
  };
}

interface SegmentStart {
  readonly argv: readonly string[];
  readonly stdio: readonly (number | 'ignore')[];
  readonly block: number;
  readonly stderr: CommandOutput;
  readonly group: RunGroup | undefined;
  readonly passed: LaunchSpec['passed'];
  /** Called once: its `stdio` is not needed here any more. */
  onPassed(): void;
}

function startSegment(kit: BwrapKit, place: SandboxPlace, start: SegmentStart): SegmentProcess {
  const { argv, stderr, group } = start;
  const { plan } = place;
  const numbers = numberDescriptors(plan, kit.inherited);
  const opened: number[] = [];
  const onPassed = (): void => {
    for (const fd of opened.splice(0)) closeSync(fd);
    start.onPassed();
  };
  try {
    const descriptors = new Map<number, number | 'ignore'>([...start.stdio.entries()]);
    descriptors.set(numbers.block, start.block);
    for (const [number, fd] of openContents(kit, place, numbers)) {
      opened.push(fd);
      descriptors.set(number, fd);
    }
    const etc = numbers.mounts.get(etcDescriptor);
    if (etc !== undefined) descriptors.set(etc, kit.etc.open());
    for (const [name, fd] of scopeDescriptors(place.scopes)) descriptors.set(toNumber(numbers, name), fd);
    for (const [number, fd] of start.passed ?? []) {
      if (descriptors.has(number)) throw new TypeError(`the sandbox has something else at its ${number}`);
      descriptors.set(number, fd);
    }
    const { pipePool, scratchDirectory, launcherPath, staying } = kit;
    return startBwrap({
      bwrapPath: kit.facts.bwrapPath,
      mark: kit.mark(),
      plan,
      argv,
      numbers,
      descriptors,
      pipePool,
      scratchDirectory,
      onPassed,
      ...(group === undefined ? {} : { group }),
      ...(launcherPath === undefined ? {} : { launcherPath }),
      ...(staying === undefined ? {} : { staying }),
      toOptions: ({ ownNetwork }) => toArgsFile(bwrapArguments(plan, numbers, ownNetwork ? ['net'] : [])),
      confine(pid) {
        if (launcherPath === undefined) resetPriorities(pid);
      },
      judge: (end) => judgeBwrap(end, stderr),
    });
  } catch (error) {
    onPassed();
    return failedSegment(error, argv[0] ?? '');
  }
}

// What bwrap reads to the end: opened anew for each, as an offset is shared by all who have the descriptor.
function* openContents(
  { facts, content, scratchDirectory }: BwrapKit,
  { plan, secrets }: SandboxPlace,
  numbers: DescriptorNumbers,
): Generator<readonly [number: number, fd: number]> {
  const { withoutUnixSockets, proxy } = facts.seccomp;
  const filter =
    [withoutUnixSockets, proxy].find(({ sha256 }) => plan.seccomp.sha256 === sha256) ?? facts.seccomp;
  for (const [index, number] of numbers.seccomp.entries()) {
    const program = filter.programs[index];
    if (program !== undefined) yield [number, content.open(program)];
  }
  for (const mount of plan.mounts) {
    if (mount.kind === 'data') {
      yield [toNumber(numbers, mount.descriptor), content.open(mount.content)];
    } else if (mount.kind === 'secret') {
      const value = secrets?.get(mount.descriptor);
      if (value === undefined) throw new TypeError(`the plan's ${mount.descriptor} has no value`);
      yield [toNumber(numbers, mount.descriptor), openContent(value, scratchDirectory)];
    }
  }
}

// What csc-launcher does by itself. Best effort: the process may be gone, and only root may make either of them better.
function resetPriorities(pid: number): void {
  const acts = [
    () => setPriority(pid, 0),
    // When the host itself runs out of memory, jobs go before the executor.
    () => writeFileSync(`/proc/${pid}/oom_score_adj`, '500'),
  ];
  for (const act of acts) {
    try {
      act();
    } catch {}
  }
}

// bwrap(1), --args: every argument ends with a NUL.
function toArgsFile(args: readonly string[]): Buffer {
  return Buffer.from(encodePath(args.map((argument) => `${argument}\0`).join('')));
}

function toNumber({ mounts }: DescriptorNumbers, name: string): number {
  const number = mounts.get(name);
  if (number === undefined) throw new TypeError(`the plan has no descriptor ${name}`);
  return number;
}
