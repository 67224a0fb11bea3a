import { closeSync, writeSync } from 'node:fs';
import {
  bwrapArguments,
  type DescriptorNumbers,
  type HostFacts,
  numberDescriptors,
  scopeDescriptors,
} from '../sandbox/index.ts';
import { type Passed, startBwrap } from './bwrap-segment.ts';
import { type CommandPipes, type Hold, openCommandPipes, openHold } from './command-pipes.ts';
import type { FifoPool } from './fifo-pool.ts';
import { judgeBwrap } from './judge-bwrap.ts';
import type { LaunchedProcess, LaunchSpec, SandboxPlace } from './launcher.ts';
import { OutputStream } from './output-stream.ts';
import { openContent } from './scratch.ts';
import { failedSegment, type SegmentProcess } from './segment.ts';
import type { SharedContent } from './shared-content.ts';
import { supervise } from './supervise.ts';

/** What every launch in bwrap draws on. */
export interface BwrapKit {
  readonly facts: HostFacts;
  readonly fifos: FifoPool;
  readonly content: SharedContent;
  readonly scratchDirectory: string;
  /** Numbers of descriptors that children inherit whether they should or not. */
  readonly inherited: readonly number[];
}

/** Starts one bwrap a segment, all with the same sandbox, joined by FIFOs. Throws where descriptors run out. */
export function launchInBwrap(kit: BwrapKit, spec: LaunchSpec, place: SandboxPlace): LaunchedProcess {
  const count = spec.segments.length;
  const { hold, pipes } = openPipes(kit, count);
  const stdout = new OutputStream(pipes.stdout);
  const stderr = new OutputStream(pipes.stderr);
  const segments = spec.segments.map(({ argv }, index): SegmentProcess => {
    return startSegment(kit, place, { argv, stdio: pipes.stdioOf(index), block: hold.block, stderr });
  });
  pipes.closePassed();
  return supervise({
    ...{ segments, stdout, stderr, hold: spec.hold },
    letGo: () => writeSync(hold.release, Buffer.alloc(count)),
    cleanUp: hold.close,
  });
}

function openPipes({ fifos }: BwrapKit, count: number): { hold: Hold; pipes: CommandPipes } {
  const hold = openHold(fifos);
  try {
    return { hold, pipes: openCommandPipes(fifos, count) };
  } catch (error) {
    hold.close();
    throw error;
  }
}

interface SegmentStart {
  readonly argv: readonly string[];
  readonly stdio: readonly (number | 'ignore')[];
  readonly block: number;
  readonly stderr: OutputStream;
}

function startSegment(kit: BwrapKit, { plan, scopes }: SandboxPlace, start: SegmentStart): SegmentProcess {
  const { argv, stderr } = start;
  const numbers = numberDescriptors(plan, kit.inherited);
  const opened: number[] = [];
  const open = (fd: number): number => {
    opened.push(fd);
    return fd;
  };
  try {
    const args = open(openContent(toArgsFile(bwrapArguments(plan, numbers)), kit.scratchDirectory));
    const descriptors = new Map<number, Passed>([...start.stdio.entries()]);
    descriptors.set(numbers.args, args).set(numbers.status, 'pipe').set(numbers.block, start.block);
    for (const [name, fd] of scopeDescriptors(scopes)) descriptors.set(toNumber(numbers, name), fd);
    for (const mount of plan.mounts) {
      if (mount.kind !== 'data') continue;
      descriptors.set(toNumber(numbers, mount.descriptor), open(kit.content.open(mount.content)));
    }
    const { bwrapPath } = kit.facts;
    return startBwrap({
      bwrapPath,
      plan,
      argv,
      numbers,
      descriptors,
      judge: (end) => judgeBwrap(end, stderr),
    });
  } catch (error) {
    return failedSegment(error, argv[0] ?? '');
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

// bwrap(1), --args: every argument ends with a NUL.
function toArgsFile(args: readonly string[]): string {
  return args.map((argument) => `${argument}\0`).join('');
}

function toNumber({ mounts }: DescriptorNumbers, name: string): number {
  const number = mounts.get(name);
  if (number === undefined) throw new TypeError(`the plan has no descriptor ${name}`);
  return number;
}
