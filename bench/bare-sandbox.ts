import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { defaultScratchDirectory } from '@csc-fleet/common/processes';
import { probeHost } from '@csc-fleet/sandbox/doctor';
import { createSharedContent, openNameKey } from '@csc-fleet/sandbox/host';
import {
  bwrapArguments,
  defaultRunLimits,
  etcDescriptor,
  numberDescriptors,
  planSandbox,
  resolveScopes,
  type SandboxPlan,
  scopeDescriptors,
  toRunFacts,
} from '@csc-fleet/sandbox/plan';
import { makeCommand } from '@csc-fleet/test-kit/contract';
import { jobUid } from '@csc-fleet/test-kit/fleet';
import { policyMembers } from '@csc-fleet/test-kit/policy';
import { createEtcTree } from '../packages/sandbox/src/launch/etc-tree.ts';

/** bubblewrap and nothing else, as the executor starts it for one command. */
export interface BareSandbox extends Disposable {
  /** Runs the command once; rejects where it does not succeed. */
  run(): Promise<void>;
}

/**
 * The sandbox of `argv` in `workspace`: the plan that an executor makes of it, with the same mounts, the same system call
 * filter and the same files behind the same descriptors. What it lacks is what is not bubblewrap: cgroup, rlimits, pipes.
 */
export async function openBareSandbox(workspace: string, argv: readonly string[]): Promise<BareSandbox> {
  const asUser = process.getuid?.() === 0 ? { uid: jobUid, gid: jobUid } : undefined;
  const facts = toRunFacts(await probeHost(asUser === undefined ? {} : { runAs: asUser }));
  const { cwd, read_paths: readPaths, write_paths: writePaths } = makeCommand(workspace);
  const policy = policyMembers(workspace) as Parameters<typeof resolveScopes>[0]['policy'];
  const scopes = resolveScopes({ cwd, readPaths, writePaths, policy }, facts);
  const plan = planSandbox(facts, scopes, {
    environment: {},
    network: 'deny',
    limits: defaultRunLimits(),
    secrets: [],
    unixSockets: true,
  });
  const scratch = defaultScratchDirectory();
  const names = openNameKey(scratch);
  const etc = createEtcTree(facts.etc, scratch, names.key);
  const content = createSharedContent(scratch);
  const options = bwrapArguments(plan, numberDescriptors(plan));
  const nothing = openSync('/dev/null', constants.O_RDWR);
  const kept = new Map([...scopeDescriptors(scopes), [etcDescriptor, etc.open()]]);
  return {
    async run() {
      const opened = openContents(plan, facts.seccomp.programs, content.open);
      const child = spawn(facts.bwrapPath, [...options, '--', ...argv], {
        stdio: toStdio(plan, new Map([...kept, ...opened]), nothing),
        env: {},
        ...asUser,
      });
      for (const fd of opened.values()) closeSync(fd);
      const [code] = (await once(child, 'exit')) as [number | null];
      if (code !== 0) throw new Error(`bubblewrap alone exited with ${code}`);
    },
    [Symbol.dispose]() {
      closeSync(nothing);
      content.close();
      etc.close();
      names.close();
      scopes.close();
    },
  };
}

/** What bubblewrap reads to its end, anew for each start. Mounts go by the plan's names, the filter's programs by number. */
function openContents(
  plan: SandboxPlan,
  programs: readonly Buffer[],
  open: (content: string | Buffer) => number,
): Map<string, number> {
  const data = plan.mounts.filter((it) => it.kind === 'data');
  return new Map([
    ...data.map(({ descriptor, content }) => [descriptor, open(content)] as const),
    ...programs.map((program, index) => [toFilterName(index), open(program)] as const),
  ]);
}

function toFilterName(index: number): string {
  return `filter ${index}`;
}

/** Each descriptor at the number where the options have it; `nothing` for status and block: nobody hears, nothing waits. */
function toStdio(
  plan: SandboxPlan,
  open: ReadonlyMap<string, number>,
  nothing: number,
): (number | 'ignore' | 'inherit')[] {
  const { mounts, seccomp } = numberDescriptors(plan);
  const stdio: (number | 'ignore' | 'inherit')[] = ['ignore', 'ignore', 'inherit', nothing, nothing, nothing];
  const put = (name: string, number: number): void => {
    const fd = open.get(name);
    if (fd === undefined) throw new TypeError(`nothing is open for ${name}`);
    stdio[number] = fd;
  };
  for (const [name, number] of mounts) put(name, number);
  for (const [index, number] of seccomp.entries()) put(toFilterName(index), number);
  return stdio;
}
