import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Mutant } from './mutant.ts';

/** How a mutant fared. Only `killed` is well: all others say what is to be mended, the wiring's tests or the table. */
export interface Verdict {
  readonly kind: 'killed' | 'survived' | 'timed out' | 'broken' | 'stale';
  /** What the test said, or why there is no verdict. */
  readonly detail: string;
}

/** What vitest's JSON reporter writes, as far as it is read here. */
interface Report {
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly Test[];
  }[];
}

interface Test {
  readonly fullName: string;
  readonly status: string;
  readonly failureMessages: readonly string[] | null;
}

const testTimeoutMs = 20_000;
const runTimeoutMs = 120_000;

/** Runs the mutant's own tests, in a copy of the sources that has it. */
export async function runTests(copy: string, mutant: Mutant, signal: AbortSignal): Promise<Verdict> {
  const report = await runVitest(copy, mutant.tests, [mutant.red], signal);
  if (report !== undefined) return judge(report, mutant.red);
  return { kind: 'timed out', detail: `the tests took longer than ${runTimeoutMs / 1000} s` };
}

/** Throws where a test of these mutants fails without any: then its failure says nothing of a mutant. */
export async function checkSound(
  copy: string,
  mutants: readonly Mutant[],
  signal: AbortSignal,
): Promise<void> {
  const files = [...new Set(mutants.flatMap(({ tests }) => tests))];
  const reds = mutants.map(({ red }) => red);
  const report = await runVitest(copy, files, reds, signal);
  const tests = report?.testResults.flatMap(({ assertionResults }) => assertionResults) ?? [];
  const failed = tests.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName);
  if (report?.success === true && failed.length === 0) return;
  throw new Error(`without any mutant these tests fail, or do not end:\n${failed.join('\n')}`);
}

async function runVitest(
  copy: string,
  files: readonly string[],
  titles: readonly string[],
  signal: AbortSignal,
): Promise<Report | undefined> {
  const output = join(copy, 'report.json');
  rmSync(output, { force: true });
  const program = join(copy, 'node_modules/vitest/vitest.mjs');
  const pattern = titles.map((title) => title.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
  const limits = [`--testTimeout=${testTimeoutMs}`, `--hookTimeout=${testTimeoutMs}`, '--maxWorkers=1'];
  const reporter = ['--reporter=json', `--outputFile=${output}`];
  const args = [program, 'run', ...files, '-t', pattern, ...limits, ...reporter];
  return (await runToEnd(args, copy, signal)) ? readReport(output) : undefined;
}

// The tests start processes of their own, so that a whole group has to go where they do not end.
async function runToEnd(args: readonly string[], cwd: string, signal: AbortSignal): Promise<boolean> {
  // Of the copy, mutant and all: a bundle would have to be built for each.
  const env = { ...process.env, CSC_BIN: join(cwd, 'packages/cli/bin/csc.js') };
  const child = spawn(process.execPath, args, { cwd, env, detached: true, stdio: 'ignore' });
  const kill = (): void => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
  };
  const timer = setTimeout(kill, runTimeoutMs);
  signal.addEventListener('abort', kill);
  const killed = await new Promise<boolean>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (_code, by) => resolve(by !== null));
  });
  clearTimeout(timer);
  signal.removeEventListener('abort', kill);
  signal.throwIfAborted();
  return !killed;
}

function readReport(path: string): Report {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Report;
  } catch (error) {
    throw new Error(`vitest wrote no report: ${error instanceof Error ? error.message : String(error)}`);
  }
}

// Whoever waits for what never comes notices nothing: the wiring must be looked at.
const timeOuts = /timed out in|did not succeed in time/;

/** What a report says of a mutant. */
export function judge({ testResults }: Pick<Report, 'testResults'>, red: string): Verdict {
  const broken = testResults.find(
    ({ message, assertionResults }) => message !== '' && assertionResults.length === 0,
  );
  if (broken !== undefined) return { kind: 'broken', detail: firstLine(broken.message) };
  const ran = testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ fullName, status }) => fullName.includes(red) && (status === 'passed' || status === 'failed'));
  if (ran.length === 0) return { kind: 'stale', detail: `no test of that name ran: ${red}` };
  const said = ran.flatMap(({ failureMessages }) => failureMessages ?? []);
  const [first] = said;
  if (first === undefined) return { kind: 'survived', detail: `every test passed: ${red}` };
  if (said.every((message) => timeOuts.test(message))) return { kind: 'timed out', detail: firstLine(first) };
  const faulty = said.find((message) => /^(?:ReferenceError|SyntaxError)/.test(message));
  if (faulty !== undefined) return { kind: 'broken', detail: firstLine(faulty) };
  return { kind: 'killed', detail: firstLine(first) };
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}
