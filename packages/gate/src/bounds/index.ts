export { boundedGate } from './bounded-gate.ts';
export { checkBounds } from './check-bounds.ts';
export { linkBounds, pushOutputBounds } from './link-messages.ts';
export { requestBounds } from './requests.ts';
