export { type CommandRules, checkCommand, findInlineCode, unwrap } from './check-command.ts';
export type { InlineCode } from './look.ts';
