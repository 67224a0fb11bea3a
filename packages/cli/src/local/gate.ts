import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createSigner, type Signer } from '@csc-fleet/common/crypto';
import { createPolicySet, type PolicyDocument } from '@csc-fleet/common/policy';
import { defaultScratchDirectory, makeScratch } from '@csc-fleet/common/processes';
import { createGate, type Gate, type GateOptions } from '@csc-fleet/gate/compose';
import { defaultGateLimits } from '@csc-fleet/gate/config';
import { createMemoryStore } from '@csc-fleet/gate/memory-store';

/** The identity that submits in `csc run`. */
export const localPrincipal = {
  uri: 'spiffe://csc.local/client/csc-run',
  role: 'client',
  name: 'csc-run',
  trustDomain: 'csc.local',
} as const;

/** Whose key signs the receipts of what never ran. */
export const gateIdentity = 'spiffe://csc.local/gate/csc-run';

/** A gate of this process. */
export interface LocalGate {
  readonly gate: Gate;
  /** Signs its tickets. */
  readonly signer: Signer;
  /** Rejects once something has gone wrong behind everybody's back: nothing more may come of it then. */
  readonly failed: Promise<never>;
  /** Makes `failed` reject. */
  fail(error: unknown): void;
  close(): Promise<void>;
}

const dayInSec = 24 * 60 * 60;

/**
 * A gate that holds one policy and ends with this process. It keeps its store in memory, and output where the system has
 * a file system for that: what must outlast the run is in the executor's journal and in the receipt.
 */
export async function startLocalGate(policy: PolicyDocument): Promise<LocalGate> {
  const scratch = makeScratch(defaultScratchDirectory());
  const removeScratch = () => rmSync(scratch, { recursive: true, force: true });
  const signer = createSigner(randomBytes(32), `csc-run-gate-${randomBytes(8).toString('hex')}`);
  const { promise: failed, reject: fail } = Promise.withResolvers<never>();
  failed.catch(() => {});
  try {
    const options: GateOptions = {
      gateId: 'csc-run',
      identity: gateIdentity,
      dataDir: scratch,
      signer,
      policies: createPolicySet([policy]),
      bindings: bindTo(policy.policy.name),
      limits: defaultGateLimits(),
      // v0.1 approvals are unsigned; whoever can hand one to csc run could run the command without it as well.
      acceptUnsignedApprovals: true,
      keepDeniedContracts: false,
      requireSignedSubmissions: false,
      // As in the reference; run.ts says so.
      dualControl: 'one_approval',
      executorLostAfterSec: dayInSec,
      heartbeatIntervalSec: 60,
      decisionTtlSec: dayInSec,
    };
    const gate = await createGate(options, { store: createMemoryStore(), onError: fail });
    return { gate, signer, failed, fail, close: () => gate.close().finally(removeScratch) };
  } catch (error) {
    removeScratch();
    throw error;
  }
}

function bindTo(profile: string) {
  return {
    bindings_version: 'csc.bindings.v0.1' as const,
    bindings: [{ identity: localPrincipal.uri, policies: [profile] }],
  };
}
