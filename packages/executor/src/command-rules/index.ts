export { type CommandRules, checkCommand } from './check-command.ts';
export { findInlineCode, unwrap } from './find-inline-code.ts';
export type { InlineCode } from './look.ts';
