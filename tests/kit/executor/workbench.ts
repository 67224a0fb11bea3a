import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { orThrow } from '@csc-fleet/common/errors';
import { type PolicyDocument, parsePolicy } from '@csc-fleet/common/policy';
import type { ReceiptV02 } from '@csc-fleet/common/receipt';
import { createLocalLauncher, type Launcher } from '@csc-fleet/sandbox/launch';
import { defaultCeiling } from '../../../packages/executor/src/admission/host-ceiling.ts';
import { type Journal, openSqliteJournal } from '../../../packages/executor/src/journal/index.ts';
import type { Executor } from '../../../packages/executor/src/link/linked-executor.ts';
import {
  createExecutor,
  type ExecutorDeps,
  type ExecutorOptions,
} from '../../../packages/executor/src/service/compose.ts';
import { type CommandShort, makeContract } from '../contract.ts';
import { policyMembers } from '../policy.ts';
import { SmallDisk } from '../small-disk.ts';
import { plainOwners } from './owners.ts';
import { ScriptedGate } from './scripted-gate.ts';

/** An executor of its own for a test, a scripted gate, and a workspace that its policy opens. */
export interface Workbench {
  readonly gate: ScriptedGate;
  readonly policy: PolicyDocument;
  /** Jobs may read it. */
  readonly workspace: string;
  /** Jobs may write it. */
  readonly out: string;
  readonly stateDir: string;
  /** That the state directory lies on, where a test asks for one. */
  readonly disk: SmallDisk | undefined;
  executor: Executor;
  /** Has the gate offer a contract of these commands under its policy; gives the execution's id. */
  offer(commands: readonly CommandShort[], overrides?: Parameters<typeof makeContract>[2]): string;
  /** The same, until its receipt is there. */
  run(
    commands: readonly CommandShort[],
    overrides?: Parameters<typeof makeContract>[2],
  ): Promise<{ readonly executionId: string; readonly receipt: ReceiptV02 }>;
  /** Closes the executor and starts another one on the same state, after what is to be done while none runs. */
  restart(meanwhile?: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** What a test wants to differ. Local mode unless it says otherwise. */
export interface WorkbenchOptions {
  readonly executor?: Partial<ExecutorOptions>;
  readonly deps?: Partial<ExecutorDeps>;
  /** Goes between the executor and its journal. */
  readonly wrapJournal?: (journal: Journal) => Journal;
  /** Whether its state directory is new; otherwise it has been there for an hour. */
  readonly newborn?: boolean;
  /** Bytes of a disk of its own for the state directory. */
  readonly disk?: number;
  /** Lines of the policy’s YAML, beside or in the place of its own. */
  readonly policyLines?: readonly string[];
}

export const commands = [
  'true',
  'false',
  'sh',
  'echo',
  'cat',
  'sleep',
  'head',
  'wc',
  'pwd',
  'id',
  'missing-program',
];

/** A policy over one directory, as YAML; lines take the place of those of the same name. */
export function policyText(workspace: string, lines: readonly string[] = []): string {
  const members = policyMembers(workspace, {
    name: 'test',
    allow_commands: commands,
    allowed_write_prefixes: [`${workspace}/out`],
  });
  const own = Object.entries(members).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
  const isSaid = (line: string): boolean => lines.some((it) => it.startsWith(line.replace(/:.*/, ':')));
  return [...own.filter((line) => !isSaid(line)), ...lines].join('\n');
}

/** Of every executor of these tests. */
export const identity = 'spiffe://csc.local/executor/executor-1';

/** A policy over one directory. */
export function makePolicy(workspace: string, lines: readonly string[] = []): PolicyDocument {
  const text = policyText(workspace, lines);
  return orThrow(parsePolicy(Buffer.from(text)), 'POLICY_INVALID', 'the policy');
}

/** Not below /tmp, which every sandbox has of its own. */
export function makeTestDirectory(): string {
  const path = mkdtempSync('/var/tmp/csc-executor-test-');
  chmodSync(path, 0o755);
  return path;
}

/** Where nothing waits for a disk, if there is such a place: only tests that ask for one are about it. */
function makeStateDirectory(root: string, isOnDisk: boolean): string {
  const inMemory = '/dev/shm';
  return join(
    isOnDisk || !existsSync(inMemory) ? root : mkdtempSync(join(inMemory, 'csc-executor-test-')),
    'state',
  );
}

let local: Launcher | undefined;

/** One for all: what it keeps ready takes a process, and most tests run one command or none. */
function shareLocalLauncher(): Launcher {
  local ??= createLocalLauncher();
  const { launch } = local;
  return { launch, close: () => undefined };
}

async function beginJournal(stateDir: string, at: Date): Promise<void> {
  mkdirSync(stateDir, { mode: 0o700, recursive: true });
  await openSqliteJournal(join(stateDir, 'journal.sqlite'), { clock: { now: () => at } }).close();
}

export async function openWorkbench(options: WorkbenchOptions = {}): Promise<Workbench> {
  const root = makeTestDirectory();
  const [workspace, stateDir] = [
    join(root, 'workspace'),
    makeStateDirectory(root, options.disk !== undefined),
  ];
  const out = join(workspace, 'out');
  mkdirSync(out, { recursive: true });
  // Of any job user.
  chmodSync(out, 0o777);
  const disk = options.disk === undefined ? undefined : new SmallDisk(stateDir, options.disk);
  if (!options.newborn) await beginJournal(stateDir, new Date(Date.now() - 3_600_000));
  const policy = makePolicy(workspace, options.policyLines);
  const gate = new ScriptedGate();
  const isHardened = options.executor?.executionMode === 'hardened';
  const start = () =>
    createExecutor(
      {
        executorId: 'executor-1',
        identity,
        stateDir,
        slots: 4,
        executionMode: 'local',
        // Tests say what they mean in shell.
        ceiling: { ...defaultCeiling, inlineCode: true },
        ...options.executor,
      },
      {
        gateKeys: gate.keys,
        owners: plainOwners([policy]),
        output: gate.output,
        ...(isHardened ? {} : { launcher: shareLocalLauncher() }),
        ...(options.wrapJournal === undefined
          ? {}
          : { journal: options.wrapJournal(openSqliteJournal(join(stateDir, 'journal.sqlite'))) }),
        ...options.deps,
      },
    );
  const executor = await start().catch((error: unknown) => {
    disk?.unmount();
    throw error;
  });
  const bench: Workbench = {
    gate,
    policy,
    workspace,
    out,
    stateDir,
    disk,
    executor,
    offer: (commands, overrides) => gate.offer(makeContract(workspace, commands, overrides), policy),
    async run(commands, overrides) {
      const executionId = bench.offer(commands, overrides);
      return { executionId, receipt: await gate.receipt(executionId) };
    },
    async restart(meanwhile = () => Promise.resolve()) {
      await bench.executor.close();
      await meanwhile();
      bench.executor = await start();
      gate.connect(bench.executor);
    },
    async close() {
      bench.executor.endAll('cancelled', 0);
      disk?.makeRoom();
      await bench.executor.close();
      disk?.unmount();
      for (const it of [root, dirname(stateDir)]) rmSync(it, { recursive: true, force: true });
    },
  };
  gate.connect(bench.executor);
  return bench;
}
