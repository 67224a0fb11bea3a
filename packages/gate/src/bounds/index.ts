export { type Bounds, checkBounds, requestInvalid } from './check-bounds.ts';
export { auditBounds, linkBounds, pushOutputBounds, requestBounds } from './messages.ts';
