export { type Bounds, checkBounds, requestInvalid } from './check-bounds.ts';
export { auditBounds, linkBounds, proveOwnBounds, pushOutputBounds, requestBounds } from './messages.ts';
