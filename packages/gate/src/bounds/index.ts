export { checkBounds, requestInvalid } from './check-bounds.ts';
export { linkBounds, policyFileBounds, pushOutputBounds, requestBounds } from './messages.ts';
