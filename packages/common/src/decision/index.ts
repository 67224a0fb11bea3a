export { classifyEffect } from './classify.ts';
export { type ClassifiedEffect, type Evaluation, evaluate, stoppedByOwners } from './evaluate.ts';
export { type Finding, isDenial } from './finding.ts';
export { mustBeBound } from './must-be-bound.ts';
export {
  decisionFromJson,
  decisionSchema,
  type PolicyDecision,
  parseDecision,
  toPolicyDecision,
} from './policy-decision.ts';
export { type ReasonCode, reasonCodes, type Verdict, verdicts } from './reason-codes.ts';
