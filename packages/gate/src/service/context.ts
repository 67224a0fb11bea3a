import type { DualControl } from '@csc-fleet/common/approval';
import type { Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import type { Bindings, PolicySet } from '@csc-fleet/common/policy';
import type { Ending } from '../execution/ending.ts';
import type { Executions } from '../execution/executions.ts';
import type { OutputStore } from '../output/output-store.ts';
import type { Scheduler } from '../schedule/scheduler.ts';
import type { Store } from '../store/store.ts';
import type { GateLimits } from './config.ts';

/** The parts that the gate's operations work with; compose.ts puts them together. */
export interface GateContext {
  readonly gateId: string;
  readonly clock: Clock;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonicMs: () => number;
  readonly signer: Signer;
  readonly policies: PolicySet;
  readonly bindings: Bindings;
  readonly limits: GateLimits;
  readonly acceptUnsignedApprovals: boolean;
  /** Whether a denied contract's text is stored, beside its hash and what was found. */
  readonly keepDeniedContracts: boolean;
  readonly dualControl: DualControl;
  readonly decisionTtlSec: number;
  readonly executorLostAfterSec: number;
  readonly heartbeatIntervalSec: number;
  readonly store: Store;
  readonly executions: Executions;
  readonly scheduler: Scheduler;
  readonly output: OutputStore;
  readonly ending: Ending;
  /** Told of errors that no caller waits for. */
  readonly onError: (error: unknown) => void;
  readonly onNotice: (message: string, details: Record<string, unknown>) => void;
}
