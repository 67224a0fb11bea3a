import type { SandboxReport } from '@csc-fleet/common/receipt';
import type { RunLimits } from '@csc-fleet/sandbox/plan';
import type { OutputCaps } from '../output/index.ts';
import type { CommandOutcome } from './command-outcome.ts';
import { Measurer } from './measurer.ts';

/** What a receipt says of where a command ran. */
export interface RecordedPlace {
  readonly report: SandboxReport;
  /** Absent where there is no sandbox. */
  readonly profileId?: string;
  /** The files and directories of the host that the command may write. */
  readonly writableRoots: readonly string[];
  /** The host user that the command runs as; absent where the executor is that user. */
  readonly credentials?: { readonly uid: number; readonly gid: number };
}

/** What is gathered for the receipt while the commands of one execution run. It only grows. */
export class RunRecord {
  readonly outcomes: CommandOutcome[] = [];
  readonly writableRoots: string[] = [];
  /** One a command that had a sandbox. */
  readonly profileIds: string[] = [];
  readonly limits: RunLimits;
  /** Looks at what the commands leave. Closed at the end. */
  readonly measurer: Measurer;
  readonly #caps: OutputCaps;
  #sandbox: SandboxReport | undefined;

  /**
   * @param caps of the whole contract
   * @param first where its first command will run; undefined where that cannot
   */
  constructor(first: RecordedPlace | undefined, caps: OutputCaps, limits: RunLimits) {
    this.limits = limits;
    this.measurer = new Measurer(first?.credentials);
    this.#caps = caps;
    this.addPlace(first);
  }

  /** Of the first command that had one. */
  get sandbox(): SandboxReport | undefined {
    return this.#sandbox;
  }

  /** Notes where a command runs; undefined: nowhere, as it cannot. */
  addPlace(place: RecordedPlace | undefined): void {
    if (place === undefined) return;
    this.writableRoots.push(...place.writableRoots);
    if (place.profileId !== undefined) this.profileIds.push(place.profileId);
    this.#sandbox ??= this.#withOwnLimits(place.report);
  }

  // What this process enforces itself.
  #withOwnLimits(report: SandboxReport): SandboxReport {
    const { artifact_bytes: bytes, artifact_sec: seconds } = this.limits;
    const own = [
      { name: 'stdout_bytes', value: this.#caps.stdout, mechanism: 'spool' },
      { name: 'stderr_bytes', value: this.#caps.stderr, mechanism: 'spool' },
      { name: 'artifact_bytes', value: bytes, mechanism: 'measuring' },
      { name: 'artifact_sec', value: seconds, mechanism: 'measuring' },
    ];
    return { ...report, limits: [...report.limits, ...own] };
  }
}
