import { and, codes, type Instruction, load, offsets, test } from './instructions.ts';
import type { SeccompArgument } from './profile.ts';

// Where a test leads when it is decided: on to the next condition, or out of the entry.
type Target = 'next' | 'out';

interface Step {
  readonly instruction: Instruction;
  /** Absent: it goes on with the next step. */
  readonly jt?: Target;
  readonly jf?: Target;
}

/**
 * Tests of one entry's arguments: falls through to what follows where all match, and leaves out `skip` more instructions
 * where one does not. Arguments are 64 bits wide, and BPF compares 32: the high half is looked at first.
 */
export function toTests(args: readonly SeccompArgument[], skip: number): Instruction[] {
  const conditions = args.map(toSteps);
  const lengths = conditions.map((steps) => steps.length);
  return conditions.flatMap((steps, position) =>
    steps.map(({ instruction, jt, jf }, index) => {
      const left = steps.length - index - 1;
      const rest = lengths.slice(position + 1).reduce((sum, length) => sum + length, 0);
      const distance = (target: Target | undefined): number =>
        target === undefined ? 0 : target === 'next' ? left : left + rest + skip;
      return jt === undefined && jf === undefined
        ? instruction
        : test(instruction.code, instruction.k, distance(jt), distance(jf));
    }),
  );
}

function toSteps({ index, op, value, valueTwo }: SeccompArgument): Step[] {
  const [low, high] = halves(value);
  const at = {
    low: { instruction: load(offsets.low(index)) },
    high: { instruction: load(offsets.high(index)) },
  };
  const compare = (code: number, k: number, jt?: Target, jf?: Target): Step => ({
    instruction: test(code, k, 0, 0),
    ...(jt === undefined ? {} : { jt }),
    ...(jf === undefined ? {} : { jf }),
  });
  switch (op) {
    case 'SCMP_CMP_EQ':
      return [
        at.high,
        compare(codes.equal, high, undefined, 'out'),
        at.low,
        compare(codes.equal, low, undefined, 'out'),
      ];
    case 'SCMP_CMP_NE':
      return [
        at.high,
        compare(codes.equal, high, undefined, 'next'),
        at.low,
        compare(codes.equal, low, 'out', 'next'),
      ];
    case 'SCMP_CMP_GT':
      return [
        ...above(at.high, compare, high, 'next', 'out'),
        at.low,
        compare(codes.greater, low, 'next', 'out'),
      ];
    case 'SCMP_CMP_GE':
      return [
        ...above(at.high, compare, high, 'next', 'out'),
        at.low,
        compare(codes.atLeast, low, 'next', 'out'),
      ];
    case 'SCMP_CMP_LT':
      return [
        ...above(at.high, compare, high, 'out', 'next'),
        at.low,
        compare(codes.atLeast, low, 'out', 'next'),
      ];
    case 'SCMP_CMP_LE':
      return [
        ...above(at.high, compare, high, 'out', 'next'),
        at.low,
        compare(codes.greater, low, 'out', 'next'),
      ];
    case 'SCMP_CMP_MASKED_EQ': {
      const [lowTwo, highTwo] = halves(valueTwo);
      return [
        ...[at.high, { instruction: and(high) }, compare(codes.equal, highTwo, undefined, 'out')],
        ...[at.low, { instruction: and(low) }, compare(codes.equal, lowTwo, undefined, 'out')],
      ];
    }
  }
}

// Decided by the high half, unless that is equal.
function above(
  loadHigh: Step,
  compare: (code: number, k: number, jt?: Target, jf?: Target) => Step,
  high: number,
  more: Target,
  less: Target,
): Step[] {
  return [loadHigh, compare(codes.greater, high, more), compare(codes.equal, high, undefined, less)];
}

function halves(value: number): readonly [low: number, high: number] {
  const wide = BigInt(value);
  return [Number(wide & 0xffff_ffffn), Number(wide >> 32n)];
}
