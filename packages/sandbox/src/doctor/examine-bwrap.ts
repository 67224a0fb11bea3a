import { execFile } from 'node:child_process';
import { statSync } from 'node:fs';
import { promisify } from 'node:util';
import { type Check, examineProgramFile, failed, passed } from '../host/index.ts';
import { type BwrapWords, keepBwrap, recallBwrap, toKey } from './bwrap-words.ts';

/** What bwrap says of itself. */
export interface BwrapFacts {
  /** As in `HostFacts`; empty where there is no usable bwrap. */
  readonly version: string;
  readonly options: ReadonlySet<string>;
  readonly checks: readonly Check[];
}

// What the recipe cannot do without.
const neededOptions: readonly string[] = [
  ...['add-seccomp-fd', 'args', 'assert-userns-disabled', 'bind-fd', 'block-fd', 'disable-userns'],
  ...['json-status-fd', 'perms', 'ro-bind-fd', 'size'],
];

const install =
  'install bubblewrap 0.11 or newer, or Debian 12’s 0.8.0-2+deb12u1 or newer (apt-get install bubblewrap)';

/**
 * Asks a bwrap for its version and its options, and whether it may be used.
 * @param keptIn a directory of this user's own where it is kept what it said, for whoever starts often. Absent: asked anew
 */
export async function askBwrap(path: string, keptIn?: string): Promise<BwrapFacts> {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return unusable(failed('bwrap', `there is no ${path}`, install));
  // Before it is started for the first time.
  const own = examineProgramFile(path, process.getuid?.() ?? -1);
  if (!own.ok) return unusable(own);
  const answers =
    (keptIn === undefined ? undefined : recallBwrap(keptIn, path)) ?? (await hear(path, keptIn));
  if ('cutOff' in answers) {
    const { cutOff } = answers;
    if (cutOff !== undefined) return unusable(untold('bwrap', `${path} runs`, cutOff));
    return unusable(failed('bwrap', `${path} does not run`, install));
  }
  const { version, help } = answers;
  const options = parseOptions(help);
  return {
    version: firstLine(version).replace(/^bubblewrap /, ''),
    options,
    checks: [
      passed('bwrap', firstLine(version)),
      examineMode(path, stats.mode),
      examineOptions(path, options),
    ],
  };
}

async function hear(
  path: string,
  keptIn: string | undefined,
): Promise<BwrapWords | ReturnType<typeof whyNot>> {
  try {
    const key = toKey(path);
    const [version, help] = await Promise.all([ask(path, '--version'), ask(path, '--help')]);
    if (keptIn !== undefined) keepBwrap(keptIn, key, { version, help });
    return { version, help };
  } catch (error) {
    return whyNot(error);
  }
}

const whyNot = (error: unknown): { cutOff: string | undefined } => ({ cutOff: whyCutOff(error) });

/**
 * What kept a probe from finding anything out: somebody, or the kernel for want of memory, has ended it, or this process
 * could not start it. That says nothing of what it was to try. Undefined where it has said something by itself.
 * @param error as execFile of node:child_process rejects
 */
export function whyCutOff(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('signal' in error && typeof error.signal === 'string') return `was ended by ${error.signal}`;
  const code = 'code' in error ? String(error.code) : '';
  return shortages.has(code)
    ? `could not be started for want of ${shortages.get(code)} (${code})`
    : undefined;
}

const shortages: ReadonlyMap<string, string> = new Map([
  ['EMFILE', 'file descriptors'],
  ['ENFILE', 'file descriptors'],
  ['EAGAIN', 'processes'],
  ['ENOMEM', 'memory'],
]);

/** A check that nobody knows the answer of. @param what as a sentence @param cutOff of `whyCutOff` */
export function untold(name: string, what: string, cutOff: string): Check {
  const detail = `it is not known whether ${what}: what tried it ${cutOff}`;
  const remedy =
    'try again; where it stays so, look for who ends it (dmesg names the OOM killer), or what it lacks';
  return failed(name, detail, remedy);
}

/** The long options in the output of `bwrap --help`, without the dashes. */
export function parseOptions(help: string): Set<string> {
  return new Set([...help.matchAll(/^\s+--([a-z0-9-]+)/gm)].map(([, name = '']) => name));
}

/** A setuid bwrap builds sandboxes with root's rights, where this recipe counts on its having none. */
export function examineMode(path: string, mode: number): Check {
  if ((mode & 0o6000) === 0) return passed('bwrap-not-setuid', `${path} is not setuid`);
  return failed(
    'bwrap-not-setuid',
    `${path} is setuid`,
    `chmod u-s,g-s ${path}, and allow user namespaces instead`,
  );
}

export function examineOptions(path: string, options: ReadonlySet<string>): Check {
  const missing = neededOptions.filter((option) => !options.has(option));
  if (missing.length === 0) return passed('bwrap-options', `${path} has all options that are needed`);
  return failed('bwrap-options', `${path} lacks --${missing.join(', --')}`, install);
}

async function ask(path: string, option: string): Promise<string> {
  const { stdout } = await promisify(execFile)(path, [option], { env: {}, cwd: '/' });
  return stdout;
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}

function unusable(check: Check): BwrapFacts {
  return { version: '', options: new Set(), checks: [check] };
}
