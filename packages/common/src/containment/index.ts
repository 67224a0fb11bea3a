export { type Containment, compareReach } from './compare-reach.ts';
export { findSilentRules, type SilentRule } from './lint.ts';
export type { Question } from './questions.ts';
