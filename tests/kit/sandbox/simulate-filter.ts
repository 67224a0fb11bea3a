import { codes } from '../../../packages/sandbox/src/seccomp/instructions.ts';

/** What the kernel hands a filter (linux/seccomp.h, struct seccomp_data); arguments are 64 bits. */
export interface SystemCall {
  readonly number: number;
  readonly audit: number;
  readonly args: readonly bigint[];
}

/** Runs a program as the kernel would, and gives its return value. Throws where the kernel would not have taken it. */
export function simulate(program: Buffer, call: SystemCall): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.number >>> 0, 0);
  data.writeUInt32LE(call.audit >>> 0, 4);
  for (const [index, argument] of call.args.entries()) data.writeBigUInt64LE(argument, 16 + 8 * index);
  let accumulator = 0;
  for (let at = 0; at < program.length / 8; at += 1) {
    const code = program.readUInt16LE(8 * at);
    const [jt, jf] = [program.readUInt8(8 * at + 2), program.readUInt8(8 * at + 3)];
    const k = program.readUInt32LE(8 * at + 4);
    const leap = (yes: boolean): number => (yes ? jt : jf);
    if (code === codes.load) accumulator = data.readUInt32LE(k);
    else if (code === codes.and) accumulator = (accumulator & k) >>> 0;
    else if (code === codes.jump) at += k;
    else if (code === codes.equal) at += leap(accumulator === k);
    else if (code === codes.greater) at += leap(accumulator > k);
    else if (code === codes.atLeast) at += leap(accumulator >= k);
    else if (code === codes.return) return k;
    else throw new Error(`no such instruction: ${code}`);
  }
  throw new Error('the program ends without a return');
}
