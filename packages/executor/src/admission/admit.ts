import type { Signer } from '@csc-fleet/common/crypto';
import type { Clock } from '@csc-fleet/common/encoding';
import { openToken } from '@csc-fleet/common/issuer-keys';
import type { IssuerKeys } from '@csc-fleet/common/oidc';
import type { HostNames } from '@csc-fleet/common/owners';
import type { Journal } from '../journal/index.ts';
import { type ApprovedContract, checkApprovals, type HostApprovalConfig } from './approvals.ts';
import { type Admitted, admitUnderCeiling } from './ceiling.ts';
import type { OwnersLimits } from './grant.ts';
import type { HostCeiling } from './host-ceiling.ts';
import type { OfferedTicket } from './offer.ts';
import type { Owners } from './owners.ts';
import { type PermittedContract, reevaluate } from './reevaluate.ts';
import { checkUnused } from './single-use.ts';
import {
  type SubmissionRules,
  type SubmissionTrust,
  type SubmittedTicket,
  verifySubmission,
} from './submission.ts';
import { type GenuineTicket, type Trust, verifyTicket } from './verify-ticket.ts';

/** What this host's owner has written down: a gate can change none of it. */
export interface OwnersRules extends OwnersLimits {
  /** The fleet's owners: their policies, and who may use them. */
  readonly owners: Owners;
  readonly submissions: SubmissionRules;
  readonly approvals: HostApprovalConfig;
  readonly ceiling: HostCeiling;
}

/** What this host admits by. */
export interface AdmissionPorts {
  readonly trust: Omit<Trust, 'now'>;
  /** What this host is to submissions and to its owners' files. */
  readonly self: Pick<SubmissionTrust, 'trustDomain' | 'labels'> & Pick<HostNames, 'identity'>;
  readonly rules: OwnersRules;
  /** Where tokens' issuers' keys are looked up. */
  readonly issuerKeys: IssuerKeys;
  readonly journal: Pick<Journal, 'bornAt'> & Parameters<typeof checkUnused>[1];
  /** Signs the receipts. */
  readonly signer: Signer;
  /** Throws SANDBOX_UNAVAILABLE where a contract may outlast the certificates that its receipt is signed with. */
  readonly checkOutlast: (contract: Admitted['contract']) => void;
  readonly clock: Clock;
}

/** Asks whether an offer may still be started. */
export interface OfferChecks {
  /** Throws DRAINING, QUEUE_FULL or SPOOL_FULL where nothing more may start now. */
  checkRoom(): void;
  /**
   * Throws DRAINING where the connection that the offer came over is gone, TICKET_REVOKED where the gate has withdrawn
   * it: it may be placed elsewhere by now.
   */
  checkWanted(): void;
}

/** From who asked for it to that this host runs it, by what its owners say at this moment. */
export function admit(
  submitted: SubmittedTicket,
  offered: OfferedTicket,
  { journal, rules, self, trust, checkOutlast }: AdmissionPorts,
  reach: <Value extends PermittedContract | ApprovedContract | Admitted>(value: Value) => Value = (value) =>
    value,
): Admitted {
  checkUnused(submitted, journal);
  const permitted = reach(reevaluate(submitted, self.labels));
  const place = {
    trustDomain: self.trustDomain,
    executorId: trust.executorId,
    journalBornAt: () => journal.bornAt(),
  };
  const approved = reach(checkApprovals(permitted, offered.approvalsJson, rules.approvals, place));
  const admitted = reach(admitUnderCeiling(approved, rules.ceiling, self.labels));
  checkOutlast(admitted.contract);
  return admitted;
}

/**
 * All of it once more, as anything may have changed while its start was waited for, and its user and its secrets were taken:
 * what it is granted is by what holds now. Throws what the first look does.
 */
export function lookAgain(
  offered: OfferedTicket,
  token: SubmissionTrust['token'],
  ports: AdmissionPorts,
  link: OfferChecks,
): Admitted {
  link.checkWanted();
  link.checkRoom();
  const genuine = verifyTicket(offered, { ...ports.trust, now: ports.clock.now() });
  const trust = submissionTrust(ports, genuine, token);
  return admit(verifySubmission(genuine, offered.submissionJson, trust), offered, ports);
}

/** The token that came with an offer, opened, or why it cannot be; undefined where none came, without a pause. */
export function openOffered(
  { submissionToken: text }: OfferedTicket,
  { rules, issuerKeys }: AdmissionPorts,
): SubmissionTrust['token'] | Promise<SubmissionTrust['token']> {
  if (text === '') return undefined;
  return openToken(text, rules.owners.current().issuers, issuerKeys);
}

export function hostNames({ self: { identity }, trust: { executorId }, signer }: AdmissionPorts): HostNames {
  return { executorId, identity, receiptKey: signer };
}

export function submissionTrust(
  ports: AdmissionPorts,
  { verifiedAt }: GenuineTicket,
  token: SubmissionTrust['token'],
): SubmissionTrust {
  const { rules, self, journal } = ports;
  const { trustDomain, labels } = self;
  const { executorId, ...host } = hostNames(ports);
  const owners = rules.owners.current();
  return {
    owners,
    token,
    rules: rules.submissions,
    trustDomain,
    labels,
    executorId,
    host,
    journalBornAt: () => journal.bornAt(),
    now: verifiedAt,
  };
}
