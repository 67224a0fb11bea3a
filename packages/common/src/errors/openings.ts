/**
 * How messages begin of which something else is to be done than of others with their reason. What to do is told by these (csc, of errors
 * and of what receipts say), as a reason more would be none to peers of an earlier release. Whoever begins otherwise, as such a peer
 * may, is told of by the reason alone.
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
