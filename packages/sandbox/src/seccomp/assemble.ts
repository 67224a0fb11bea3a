import { toTests } from './conditions.ts';
import { codes, type Instruction, load, offsets, ret, test, toBytes } from './instructions.ts';
import type { SeccompEntry, SeccompProfile } from './profile.ts';
import { type Architecture, systemCalls } from './system-calls.ts';

// linux/audit.h.
const auditArchitectures: Readonly<Record<Architecture, number>> = {
  x86_64: 0xc000003e,
  aarch64: 0xc00000b7,
};
// Calls of the x32 ABI have this bit (asm/unistd.h); a table of x86_64 says nothing of them.
const x32Bit = 0x40000000;

// linux/seccomp.h.
const killProcess = 0x80000000;
const killThread = 0;
const returns: Readonly<Record<SeccompEntry['action'], number>> = {
  SCMP_ACT_ALLOW: 0x7fff0000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_KILL: killThread,
  SCMP_ACT_KILL_PROCESS: killProcess,
  SCMP_ACT_KILL_THREAD: killThread,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_LOG: 0x7ffc0000,
};
const defaultErrno = 1;

/**
 * The program of a profile for one architecture, as the kernel and bwrap's --add-seccomp-fd take it. Pure. A foreign
 * architecture (i386 through int 0x80) and the x32 ABI kill the process. Throws RangeError for a program too long.
 */
export function assembleProfile(profile: SeccompProfile, architecture: Architecture): Buffer {
  const { defaultAction, defaultErrnoRet } = profile;
  const otherwise = ret(toReturn(defaultAction, defaultErrnoRet));
  return toBytes([
    load(offsets.architecture),
    test(codes.equal, auditArchitectures[architecture], 1, 0),
    ret(killProcess),
    load(offsets.number),
    ...(architecture === 'x86_64' ? [test(codes.atLeast, x32Bit, 0, 1), ret(killProcess)] : []),
    ...search(toRanges(profile, architecture, otherwise)),
  ]);
}

/** System calls from `from` up to the next range, and what is done about them. */
interface Range {
  readonly from: number;
  readonly code: readonly Instruction[];
}

function toRanges(profile: SeccompProfile, architecture: Architecture, otherwise: Instruction): Range[] {
  const numbers = Object.entries(systemCalls(architecture)).sort(([, a], [, b]) => a - b);
  const entries = byName(profile);
  const ranges: Range[] = [{ from: 0, code: [otherwise] }];
  const add = (from: number, code: readonly Instruction[]): void => {
    if (ranges.at(-1)?.from === from) ranges.pop();
    const last = ranges.at(-1);
    if (last === undefined || !isSame(last.code, code)) ranges.push({ from, code });
  };
  for (const [name, number] of numbers) {
    add(number, toCode(entries.get(name) ?? [], otherwise));
    add(number + 1, [otherwise]);
  }
  return ranges;
}

function byName({ syscalls }: SeccompProfile): ReadonlyMap<string, readonly SeccompEntry[]> {
  const entries = new Map<string, SeccompEntry[]>();
  for (const entry of syscalls) {
    for (const name of entry.names) {
      const list = entries.get(name);
      if (list === undefined) entries.set(name, [entry]);
      else list.push(entry);
    }
  }
  return entries;
}

function isSame(a: readonly Instruction[], b: readonly Instruction[]): boolean {
  return a.length === 1 && b.length === 1 && a[0]?.k === b[0]?.k;
}

function toCode(entries: readonly SeccompEntry[], otherwise: Instruction): Instruction[] {
  const code: Instruction[] = [];
  for (const { action, errnoRet, args } of entries) {
    code.push(...toTests(args, 1), ret(toReturn(action, errnoRet)));
    if (args.length === 0) return code;
  }
  return [...code, otherwise];
}

// A binary search: some nine comparisons a call. Each range's code ends in a return.
function search(ranges: readonly Range[]): Instruction[] {
  const [first, ...others] = ranges;
  if (others.length === 0) return [...(first?.code ?? [])];
  const middle = Math.ceil(ranges.length / 2);
  const [left, right] = [search(ranges.slice(0, middle)), search(ranges.slice(middle))];
  const from = ranges[middle]?.from ?? 0;
  // A conditional jump reaches 255 instructions, the other one any.
  if (left.length <= 255) return [test(codes.atLeast, from, left.length, 0), ...left, ...right];
  const jump: Instruction = { code: codes.jump, jt: 0, jf: 0, k: left.length };
  return [test(codes.atLeast, from, 0, 1), jump, ...left, ...right];
}

function toReturn(action: SeccompEntry['action'], errno = defaultErrno): number {
  return action === 'SCMP_ACT_ERRNO' ? returns[action] | errno : returns[action];
}
