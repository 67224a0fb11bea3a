import type { SandboxReport } from '@csc-fleet/common/receipt';
import type { RunLimits } from '@csc-fleet/sandbox/plan';
import type { ReceiptSubject } from '../evidence/index.ts';
import { type FileTime, Measurer, nothingWritten, type Written } from '../evidence/measure-index.ts';
import type { OutputCaps, OutputSpool } from '../output/index.ts';
import type { PreparedCommand } from './prepare-command.ts';
import type { Run } from './run.ts';
import type { CommandOutcome } from './run-command.ts';
import type { Granted } from './workplace.ts';

/** An offer that stood every check, with its first command built and held. */
export interface Execution {
  readonly run: Run;
  readonly subject: ReceiptSubject & Required<Pick<ReceiptSubject, 'document'>>;
  readonly spool: OutputSpool;
  readonly granted: Granted;
  readonly first: PreparedCommand;
  readonly trace: Trace;
}

/** What is gathered for the receipt while the commands run. */
export interface Trace {
  readonly outcomes: CommandOutcome[];
  readonly writableRoots: string[];
  readonly profileIds: string[];
  /** Of the whole contract. */
  readonly caps: OutputCaps;
  readonly limits: RunLimits;
  /** Looks at what they leave. Closed at the end. */
  readonly measurer: Measurer;
  sandbox?: SandboxReport;
  /** Before the first command started. Absent where nothing may be written, or the time could not be had. */
  since?: FileTime;
}

/** The trace of an execution whose first command is built. */
export function beginTrace(first: PreparedCommand, { caps }: OutputSpool, { limits }: Granted): Trace {
  const measurer = new Measurer(first.place?.credentials);
  const trace: Trace = { ...{ outcomes: [], writableRoots: [], profileIds: [] }, caps, limits, measurer };
  tracePlace(trace, first);
  return trace;
}

/** Notes where a command runs. */
export function tracePlace(trace: Trace, { place }: PreparedCommand): void {
  if (place === undefined) return;
  trace.writableRoots.push(...place.writableRoots);
  if (place.profileId !== undefined) trace.profileIds.push(place.profileId);
  trace.sandbox ??= withOwnLimits(place.report, trace);
}

/** Below all write scopes, since the execution began. */
export function writtenSoFar(outcomes: readonly CommandOutcome[]): Written {
  return outcomes.findLast(({ written }) => written !== undefined)?.written ?? nothingWritten;
}

// What this process enforces itself.
function withOwnLimits(report: SandboxReport, { caps: { stdout, stderr }, limits }: Trace): SandboxReport {
  const own = [
    { name: 'stdout_bytes', value: stdout, mechanism: 'spool' },
    { name: 'stderr_bytes', value: stderr, mechanism: 'spool' },
    { name: 'artifact_bytes', value: limits.artifact_bytes, mechanism: 'measuring' },
    { name: 'artifact_sec', value: limits.artifact_sec, mechanism: 'measuring' },
  ];
  return { ...report, limits: [...report.limits, ...own] };
}
