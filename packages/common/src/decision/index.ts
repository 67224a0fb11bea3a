export { classifyEffect } from './classify.ts';
export { type ClassifiedEffect, type Evaluation, evaluate } from './evaluate.ts';
export { type Finding, isDenial } from './finding.ts';
export { decisionFromJson, type PolicyDecision, parseDecision, toPolicyDecision } from './policy-decision.ts';
export { type ReasonCode, reasonCodes, type Verdict, verdicts } from './reason-codes.ts';
export { decisionSchema } from './schema.ts';
