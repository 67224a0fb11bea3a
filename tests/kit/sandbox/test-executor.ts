// A small executor in a process of its own, for tests that kill it, start it as somebody else or with files open.
import { setTimeout as sleep } from 'node:timers/promises';
import { probeHost } from '../../../packages/sandbox/src/doctor/probe-host.ts';
import { createBwrapLauncher } from '../../../packages/sandbox/src/launch/bwrap-launcher.ts';
import { toRunFacts } from '../../../packages/sandbox/src/plan/facts.ts';
import { createSandboxRunner, finish, openTestGroups, type TestScopes } from './runner.ts';

/** Its one argument, as JSON. It prints "launched", and then the Run as JSON. */
export interface TestExecutorOptions {
  readonly argv: readonly string[];
  readonly scopes?: TestScopes;
  readonly hold?: boolean;
  /** As for the bwrap launcher. */
  readonly launcher?: string | null;
  /** False: everything is started from this process. Default: by csc-launcher, where it can look at this process. */
  readonly stays?: boolean;
  /** Who to be. Absent: whoever starts it. */
  readonly user?: { readonly uid: number; readonly gid: number };
}

const {
  argv,
  scopes = {},
  hold = false,
  launcher,
  stays = launcher !== null,
  user,
}: TestExecutorOptions = JSON.parse(process.argv[2] ?? '');
if (user !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(user.gid);
  process.setuid?.(user.uid);
}

void run();

async function run(): Promise<void> {
  // Who is not root has no cgroups of his own here.
  const facts = toRunFacts(await probeHost({ acceptRlimitsOnly: user !== undefined }));
  const bwrapLauncher = createBwrapLauncher({
    facts,
    stays,
    ...(launcher === undefined ? {} : { launcher }),
    ...(facts.cgroups === 'none' ? {} : { cgroups: openTestGroups() }),
  });
  // Who has changed his user is not to be looked at (prctl(2), PR_SET_DUMPABLE).
  while (stays && user === undefined && bwrapLauncher.stayingPid() === undefined) await sleep(1);
  const runner = createSandboxRunner(facts, bwrapLauncher);
  const launched = await runner.launch([argv], scopes, hold);
  console.log('launched');
  console.log(JSON.stringify(await finish(launched)));
  runner.launcher.close();
}
