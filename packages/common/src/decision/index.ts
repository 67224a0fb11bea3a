export { classifyEffect } from './classify.ts';
export {
  type AskedBeside,
  type ClassifiedEffect,
  type Evaluation,
  evaluate,
  findHostRefusals,
  stoppedByOwners,
} from './evaluate.ts';
export { type Explanation, explain, type Ground } from './explain.ts';
export { type Finding, isDenial } from './finding.ts';
export { judgeEffects } from './judge-effects.ts';
export type { HostRules } from './judge-words.ts';
export {
  beginMatch,
  endMatch,
  type Match,
  type MatchState,
  readWord,
  settleMatch,
} from './match-effect-rule.ts';
export { mustBeBound } from './must-be-bound.ts';
export {
  decisionFromJson,
  decisionSchema,
  type PolicyDecision,
  parseDecision,
  toPolicyDecision,
} from './policy-decision.ts';
export { type ReasonCode, reasonCodes, type Verdict, verdicts } from './reason-codes.ts';
export {
  describeQuorum,
  type WantedApprovals,
  type WantedQuorum,
  wantedApprovals,
} from './wanted-approvals.ts';
