export { checkBounds, requestInvalid } from './check-bounds.ts';
export { linkBounds, pushOutputBounds, requestBounds } from './messages.ts';
