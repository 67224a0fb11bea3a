import type { SandboxReport } from '@csc-fleet/common/receipt';
import type { OutputCaps, OutputSpool } from './output/index.ts';
import type { PreparedCommand } from './prepare-command.ts';
import type { FileTime, ReceiptSubject } from './receipt/index.ts';
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
  sandbox?: SandboxReport;
  /** Before the first command started. Absent where nothing may be written, or the time could not be had. */
  since?: FileTime;
}

/** The trace of an execution whose first command is built. */
export function beginTrace(first: PreparedCommand, { caps }: OutputSpool): Trace {
  const trace: Trace = { outcomes: [], writableRoots: [], profileIds: [], caps };
  tracePlace(trace, first);
  return trace;
}

/** Notes where a command runs. */
export function tracePlace(trace: Trace, { place }: PreparedCommand): void {
  if (place === undefined) return;
  trace.writableRoots.push(...place.writableRoots);
  if (place.profileId !== undefined) trace.profileIds.push(place.profileId);
  trace.sandbox ??= withOutputCaps(place.report, trace.caps);
}

function withOutputCaps(report: SandboxReport, { stdout, stderr }: OutputCaps): SandboxReport {
  const caps = [
    { name: 'stdout_bytes', value: stdout, mechanism: 'spool' },
    { name: 'stderr_bytes', value: stderr, mechanism: 'spool' },
  ];
  return { ...report, limits: [...report.limits, ...caps] };
}
