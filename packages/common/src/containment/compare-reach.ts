import type { PolicyDocument } from '../policy/index.ts';
import { findApprovalDoubts } from './approvals.ts';
import type { Doubt } from './doubt.ts';
import { findEffectDoubts } from './effects.ts';
import { findMemberDoubts } from './members.ts';
import { type Question, rank, toQuestions } from './questions.ts';
import { argvsOf, findWordDoubts } from './words.ts';

/** What is known of whether a new policy allows nothing that an old one does not. */
export type Containment =
  /**
   * It does not: whatever the new one allows, the old one does, and gives no less; who must agree by the old one must
   * by the new one.
   */
  | { readonly kind: 'contained' }
  /** It does: both decide this question, as anybody can try. */
  | {
      readonly kind: 'wider';
      /** The rule that makes it so. */
      readonly about: string;
      readonly question: Question;
      /** What a run gets more where both decide alike. */
      readonly gives?: string;
      /** What else it gets more, where it gets something: the first of them. */
      readonly also: readonly string[];
    }
  /** These rules may, and no contract was found that shows it. */
  | { readonly kind: 'unknown'; readonly about: readonly string[] };

/**
 * Compares what two policies let through. The rules of both are compared as sets, prefixes and automata, so that `contained`
 * holds for every contract there is; a counterexample is one that both policies have decided, by `evaluate` itself.
 */
export function compareReach(old: PolicyDocument, now: PolicyDocument): Containment {
  const doubts = [
    ...findMemberDoubts(old.policy, now.policy),
    ...findWordDoubts(old.policy, now.policy),
    ...findEffectDoubts(old.policy, now.policy),
    ...findApprovalDoubts(old.policy, now.policy),
  ];
  if (doubts.length === 0) return { kind: 'contained' };
  const usual = findUsual(now);
  // That something else is decided tells more than that the same comes with more.
  const byWeight = doubts.toSorted((a, b) => Number(a.gives !== undefined) - Number(b.gives !== undefined));
  for (const doubt of byWeight) {
    const question = findProof(doubt, old, now, usual);
    if (question === undefined) continue;
    const { about, gives } = doubt;
    if (gives === undefined) return { kind: 'wider', about, question, also: [] };
    const others = byWeight.filter((it) => it !== doubt && it.gives !== undefined).slice(0, mostOthers);
    const also = others.filter((it) => findProof(it, old, now, usual) !== undefined);
    return { kind: 'wider', about, question, gives, also: also.map((it) => it.gives ?? it.about) };
  }
  return { kind: 'unknown', about: doubts.map(({ about }) => about) };
}

const mostUsual = 8;
const mostOthers = 32;

/** Argvs that a policy lets run, for questions that are about something else. */
function findUsual(now: PolicyDocument): string[][] {
  const argvs = now.policy.allow_commands.flatMap((program) => argvsOf(program, now.policy));
  return argvs.filter((argv) => mayRun(argv, now)).slice(0, mostUsual);
}

function mayRun(argv: readonly string[], now: PolicyDocument): boolean {
  for (const question of toQuestions({ argvs: [argv] }, now, [])) if (rank(question, now) > 0) return true;
  return false;
}

const mostQuestions = 5000;

function findProof(
  doubt: Doubt,
  old: PolicyDocument,
  now: PolicyDocument,
  usual: readonly (readonly string[])[],
): Question | undefined {
  let asked = 0;
  for (const variation of doubt.tries)
    for (const question of toQuestions(variation, now, usual)) {
      if (asked++ >= mostQuestions) return undefined;
      const after = rank(question, now);
      if (after > 0 && (doubt.gives !== undefined || after > rank(question, old))) return question;
    }
  return undefined;
}
