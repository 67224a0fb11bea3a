export { checkBounds, requestInvalid } from './check-bounds.ts';
export { linkBounds, pushOutputBounds } from './link-messages.ts';
export { requestBounds } from './requests.ts';
