export { checkApprovals, toConsumed } from './approvals.ts';
export { genuineTicket, openOfferedTicket, readOfferedContract } from './open-offer.ts';
export { reevaluate } from './reevaluate.ts';
export { checkUnused } from './unused.ts';
