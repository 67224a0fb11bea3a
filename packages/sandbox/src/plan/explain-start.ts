import { closeSync, constants, openSync, readSync, type Stats } from 'node:fs';
import { showInvisible } from '@csc-fleet/common/errors';
import { encodePath } from '../host/index.ts';

/** Why a program cannot run, in a shell's terms: 127 not found, 126 found but not runnable. */
export interface NotRunnable {
  readonly code: 126 | 127;
  readonly message: string;
}

// execve(2): MAX_ARG_STRLEN, with the NUL behind each.
const mostOfOne = 131_071;
// A quarter of the usual stack, less what bwrap and what starts it have for themselves.
const mostOfAll = 2 * 1024 * 1024 - 8192;

/** Why the kernel would not take a command line (execve(2), E2BIG); undefined where it does. Pure. */
export function findTooLong(
  argv: readonly string[],
  environment: Readonly<Record<string, string>>,
): NotRunnable | undefined {
  const [program = ''] = argv;
  const sizes = argv.map((argument) => Buffer.byteLength(argument));
  const longest = Math.max(...sizes);
  const refuse = (message: string): NotRunnable => ({ code: 126, message: `${program}: ${message}` });
  if (longest > mostOfOne)
    return refuse(
      `argument ${sizes.indexOf(longest)} has ${longest} bytes, and the kernel takes at most ${mostOfOne}`,
    );
  const variables = Object.entries(environment).map((entry) => Buffer.byteLength(entry.join('=')));
  // Each has a NUL and a pointer.
  const whole = [...sizes, ...variables].reduce((sum, size) => sum + size + 9, 0);
  if (whole <= mostOfAll) return undefined;
  return refuse(`its arguments and variables have ${whole} bytes, and the kernel takes at most ${mostOfAll}`);
}

/** What a program needs of the sandbox before the kernel starts it. */
export type Needs = { readonly interpreter: string; readonly kind: 'script' | 'linker' } | undefined;

/** Reads what a program needs to be started, as far as its first bytes say. Undefined: nothing, or it cannot be told. */
export function readNeeds(hostPath: string): Needs {
  const head = readHead(hostPath);
  if (head.subarray(0, 2).toString('latin1') === '#!') {
    // As the kernel reads it (fs/binfmt_script.c): to the first space, tab or line end.
    const [, interpreter = ''] = /^#![ \t]*([^ \t\n\0]*)/.exec(head.toString('utf8', 0, 256)) ?? [];
    return interpreter === '' ? undefined : { interpreter, kind: 'script' };
  }
  const linker = findLinker(head);
  return linker === undefined ? undefined : { interpreter: linker, kind: 'linker' };
}

/** Says that what a program needs is not in the sandbox. */
export function explainNeeds(program: string, { interpreter, kind }: NonNullable<Needs>): NotRunnable {
  if (kind === 'linker')
    return {
      code: 127,
      message: `${program} needs the dynamic linker ${showInvisible(interpreter)}, which is not in the sandbox: it was built for another system`,
    };
  const shown = showInvisible(interpreter.replace(/\r$/, ''));
  if (!interpreter.endsWith('\r'))
    return {
      code: 127,
      message: `${program} is a script for ${shown} (its #! line), which is not in the sandbox`,
    };
  return {
    code: 127,
    message: `${program} is a script for ${shown} with a carriage return behind it (its #! line), which is not there: the file has Windows line ends (CRLF); save it with \\n alone, for example with: sed -i 's/\\r$//' ${program}`,
  };
}

/** Whether the job user may read a file, as far as its mode says: what is closed to it is not told of. */
export function isReadable(
  { mode, uid, gid }: Stats,
  user: { readonly uid: number; readonly gid: number },
): boolean {
  if (uid === user.uid) return (mode & 0o400) !== 0;
  return (mode & (gid === user.gid ? 0o040 : 0o004)) !== 0;
}

const headBytes = 4096;

// It may be another file by now, such as a FIFO, which would hold the open.
function readHead(path: string): Buffer {
  const bytes = Buffer.alloc(headBytes);
  try {
    const fd = openSync(encodePath(path), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return bytes.subarray(0, readSync(fd, bytes, 0, headBytes, 0));
    } finally {
      closeSync(fd);
    }
  } catch {
    return bytes.subarray(0, 0);
  }
}

// elf(5): the PT_INTERP header of a program of 64 bits in little-endian, which is what x86_64 and aarch64 have.
function findLinker(head: Buffer): string | undefined {
  if (head.length < 64 || head.readUInt32BE(0) !== 0x7f454c46 || head[4] !== 2 || head[5] !== 1)
    return undefined;
  const [start, size, count] = [
    Number(head.readBigUInt64LE(32)),
    head.readUInt16LE(54),
    head.readUInt16LE(56),
  ];
  for (let index = 0; index < count; index += 1) {
    const at = start + index * size;
    if (at + 56 > head.length) return undefined;
    if (head.readUInt32LE(at) !== 3) continue;
    const [offset, length] = [Number(head.readBigUInt64LE(at + 8)), Number(head.readBigUInt64LE(at + 32))];
    return offset + length > head.length ? undefined : head.toString('utf8', offset, offset + length - 1);
  }
  return undefined;
}
