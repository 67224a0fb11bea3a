import type { StreamDigest } from '@csc-fleet/common/output-log';
import type { Ending } from '@csc-fleet/common/receipt';
import type { EgressSummary } from '../egress/index.ts';
import type { Captured } from '../output/index.ts';
import { nothingWritten, type Written } from './written.ts';

/** How one command went. */
export interface CommandOutcome {
  readonly commandId: string;
  readonly argvSha256: string;
  readonly ended: Ending;
  /** Absent where nothing of it ran. */
  readonly startedAt?: Date;
  readonly endedAt?: Date;
  /** 124, 126 and 127 as in protocol §7. Absent where there is none, as nothing ran or could have. */
  readonly exitCode?: number;
  readonly signal?: string;
  /** For people. Absent where the exit code says it all. */
  readonly error?: string;
  /** Of its processes, for want of memory. */
  readonly oomKills?: number;
  /** What was asked of its way out; absent where it had none. */
  readonly egress?: EgressSummary;
  /** Below all write scopes so far, since the execution began; absent where nobody looked. */
  readonly written?: Written;
  readonly output: Captured<StreamDigest>;
}

/** True for a command after which the next one may start. */
export function hasSucceeded({ ended, exitCode }: CommandOutcome): boolean {
  return ended === 'exit' && exitCode === 0;
}

/** Below all write scopes, since the execution began. */
export function writtenSoFar(outcomes: readonly CommandOutcome[]): Written {
  return outcomes.findLast(({ written }) => written !== undefined)?.written ?? nothingWritten;
}
