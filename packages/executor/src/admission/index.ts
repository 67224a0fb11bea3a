export { checkApprovals } from './approvals.ts';
export { awaitTicket, msUntilTicket } from './await-ticket.ts';
export { genuineTicket, openOfferedTicket, readOfferedContract } from './open-offer.ts';
export { reevaluate } from './reevaluate.ts';
export { checkUnused, toUse } from './unused.ts';
