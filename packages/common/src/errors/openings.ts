/**
 * How messages begin that call for something else than others with the same reason. csc tells by them what to do, of
 * errors and of receipts; a reason of their own would be unknown to peers of an earlier release. A message that begins
 * otherwise, as one of such a peer may, is told of by its reason alone.
 */
export const openings = {
  tokenRefused: 'the token was refused: ',
  submissionMissing: 'the submission was refused: none came',
  notAnApprover: 'this is for approvers, ',
  notAsked: 'no group of ',
  sealedTo: 'the output is sealed to the key ',
  noSay: 'this policy repository gives no say to the key ',
  otherCa: 'it is not the CA that the token is of ',
} as const;
