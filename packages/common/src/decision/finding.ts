import type { Command } from '../contract/index.ts';
import type { Policy } from '../policy/index.ts';
import type { ReasonCode } from './reason-codes.ts';

/** One thing that a policy says of a contract: a rule that is broken, asks for approval, or says what a command really does. */
export interface Finding {
  readonly reasonCode: ReasonCode;
  /** Empty where it is of the whole contract. */
  readonly commandId: string;
  /** The member of the contract, as in `commands[0].read_paths[2]`. */
  readonly member: string;
  /** For people; begins as the reference's text does. */
  readonly message: string;
}

/** A finding before it is known which command it is of; the member is relative to the command. */
export type CommandFinding = Pick<Finding, 'reasonCode' | 'member' | 'message'>;

/** One rule of protocol §3, step 2: everything that it finds in a command. */
export type JudgeCommand = (command: Command, policy: Policy) => readonly CommandFinding[];

/** Of a rule that is kept, as nearly all are. */
export const noFindings: readonly CommandFinding[] = [];

/** True for a broken rule; false for a rule that asks for approval or reclassifies. */
export function isDenial({ reasonCode }: Pick<Finding, 'reasonCode'>): boolean {
  return reasonCode !== 'APPROVAL_REQUIRED' && reasonCode !== 'EFFECT_RECLASSIFIED';
}

// Letters, digits, punctuation and plain spaces of any script; no control or format character such as a bidi mark,
// which would change what a terminal shows.
const isPlain = (text: string): boolean =>
  /^[ -~]{1,160}$/.test(text) || /^[^\p{C}\p{Zl}\p{Zp}]{1,160}$/u.test(text);

/** A text of the contract's author, fit to be shown: as it is, or cut and escaped. */
export function shown(text: string): string {
  if (isPlain(text)) return text;
  const cut = [...text].slice(0, 160).join('');
  const escaped = cut.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`);
  return cut.length < text.length ? `${escaped}…` : escaped;
}

/** What a policy allows instead, for the end of a message. */
export function allowed(values: readonly string[]): string {
  if (values.length === 0) return '; the policy allows none';
  const more = values.length > 8 ? `, and ${values.length - 8} more` : '';
  return `; the policy allows ${values.slice(0, 8).map(shown).join(', ')}${more}`;
}
