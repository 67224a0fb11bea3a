export { type CommandRules, checkCommand, findInlineCode, unwrap } from './judge-command.ts';
export type { InlineCode } from './look.ts';
