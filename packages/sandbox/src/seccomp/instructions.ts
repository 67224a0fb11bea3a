/** One instruction of classic BPF (linux/filter.h, struct sock_filter). */
export interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** BPF_LD | BPF_W | BPF_ABS, and so on (linux/bpf_common.h). */
export const codes = {
  load: 0x20,
  jump: 0x05,
  equal: 0x15,
  greater: 0x25,
  atLeast: 0x35,
  and: 0x54,
  return: 0x06,
};

/** Offsets in struct seccomp_data (linux/seccomp.h). Both architectures are little-endian. */
export const offsets = {
  number: 0,
  architecture: 4,
  low: (index: number): number => 16 + 8 * index,
  high: (index: number): number => 20 + 8 * index,
};

export function load(k: number): Instruction {
  return { code: codes.load, jt: 0, jf: 0, k };
}

export function and(k: number): Instruction {
  return { code: codes.and, jt: 0, jf: 0, k };
}

export function ret(k: number): Instruction {
  return { code: codes.return, jt: 0, jf: 0, k };
}

/** `jt` and `jf` count the instructions that are left out. Throws RangeError past what eight bits hold. */
export function test(code: number, k: number, jt: number, jf: number): Instruction {
  if (jt > 255 || jf > 255) throw new RangeError('a conditional jump is too long');
  return { code, jt, jf, k };
}

/** The bytes that the kernel takes. Throws RangeError for more instructions than it takes (BPF_MAXINSNS). */
export function toBytes(instructions: readonly Instruction[]): Buffer {
  if (instructions.length > 4096) throw new RangeError('the filter has more than 4096 instructions');
  const bytes = Buffer.alloc(8 * instructions.length);
  for (const [index, { code, jt, jf, k }] of instructions.entries()) {
    bytes.writeUInt16LE(code, 8 * index);
    bytes.writeUInt8(jt, 8 * index + 2);
    bytes.writeUInt8(jf, 8 * index + 3);
    bytes.writeUInt32LE(k, 8 * index + 4);
  }
  return bytes;
}
