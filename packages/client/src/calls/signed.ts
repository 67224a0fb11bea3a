import { maxSubmissionLifeMs, submissionSkewMs } from '@csc-fleet/common/submission';

/** A submission that was signed and handed in. */
export interface SignedSubmission {
  /** 32 hex digits. */
  readonly nonce: string;
  /** As it was signed first, before it named the host that it was placed on. */
  readonly submissionJson: Buffer;
  /** Absent: the gate has not named it yet. */
  readonly executionId?: string;
}

/**
 * What was signed for this submitter: so that a later process can name the host of an execution that an earlier one has
 * handed in, and none names two hosts for one nonce. Keep it between processes, or each begins anew.
 */
export interface SignedSubmissions {
  /** Undefined where it is not remembered, or was dropped. */
  find(nonce: string): Promise<SignedSubmission | undefined>;
  ofExecution(executionId: string): Promise<SignedSubmission | undefined>;
  /** In the place of what was remembered of this nonce. */
  keep(submission: SignedSubmission): Promise<void>;
  /** It has ended; the host that its nonce was claimed for is remembered on. */
  drop(nonce: string): Promise<void>;
  /**
   * The one executor that this nonce's submission may name, for as long as it can be valid: this one, or the one that
   * came first. Of two that claim at once, both are told the same.
   */
  claim(nonce: string, executorId: string): Promise<string>;
}

/** Milliseconds after which nothing that was signed by then is valid anywhere. */
const rememberedMs = maxSubmissionLifeMs + submissionSkewMs;

/** Forgets everything with the process. */
export function createSignedSubmissions(): SignedSubmissions {
  const signed = new Map<string, SignedSubmission & { readonly until: number }>();
  const hosts = new Map<string, { readonly executorId: string; readonly until: number }>();
  const until = (): number => Date.now() + rememberedMs;
  return {
    find: async (nonce) => signed.get(nonce),
    ofExecution: async (executionId) => [...signed.values()].find((it) => it.executionId === executionId),
    keep: async (submission) => {
      forgetOld(signed);
      signed.set(submission.nonce, { ...submission, until: until() });
    },
    drop: async (nonce) => void signed.delete(nonce),
    claim: async (nonce, executorId) => {
      forgetOld(hosts);
      const first = hosts.get(nonce) ?? { executorId, until: until() };
      hosts.set(nonce, first);
      return first.executorId;
    },
  };
}

// The oldest come first.
function forgetOld(entries: Map<string, { readonly until: number }>): void {
  const now = Date.now();
  for (const [nonce, { until }] of entries) {
    if (until > now) return;
    entries.delete(nonce);
  }
}
