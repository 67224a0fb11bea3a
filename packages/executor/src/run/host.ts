import type { DualControl } from '@csc-fleet/common/approval';
import type { KeyRing, Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import type { PolicySet } from '@csc-fleet/common/policy';
import type { JobUserLeases } from '@csc-fleet/sandbox/host';
import type { Launcher } from '@csc-fleet/sandbox/launch';
import type { RunLimits } from '@csc-fleet/sandbox/plan';
import type { HostCeiling } from '../admission/ceiling-index.ts';
import type { Journal } from '../journal/index.ts';
import type { SpoolDirectory } from '../output/index.ts';
import type { SecretProvider } from '../secrets/index.ts';
import type { ExecutorLimits } from '../service/limits.ts';
import type { Log } from '../service/log.ts';
import type { Workplace } from './workplace.ts';

/** What an execution stands on: this host, its owner's files, and the parts that `compose.ts` chose. */
export interface Host {
  readonly executorId: string;
  /** The whole SPIFFE id of its certificate. */
  readonly identity: string;
  /** The keys of the gates whose tickets count here. */
  readonly gateKeys: KeyRing;
  /** The owner's policies, as this host holds them. */
  readonly policies: PolicySet;
  readonly ceiling: HostCeiling;
  readonly acceptUnsignedApprovals: boolean;
  readonly dualControl: DualControl;
  readonly limits: ExecutorLimits;
  /** The most that one command may use up. */
  readonly runLimits: RunLimits;
  /** Absent where this host hands out none. */
  readonly secrets?: SecretProvider;
  /** Whom runs run as. */
  readonly jobUsers: JobUserLeases;
  readonly workplace: Workplace;
  readonly launcher: Launcher;
  readonly spools: SpoolDirectory;
  readonly journal: Journal;
  /** Signs the receipts. */
  readonly signer: Signer;
  readonly clock: Clock;
  readonly log: Log;
}
