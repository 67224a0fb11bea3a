export { type CommandRules, findInlineCode, judgeCommand, unwrap } from './judge-command.ts';
export type { InlineCode } from './look.ts';
