/** Approvals that an executor takes with an offer. */
export const maxOfferedApprovals = 64;
