export {
  findSpellingFault,
  type GivenOption,
  type Invocation,
  type Readings,
  readInvocation,
  spellOption,
} from './invocation.ts';
export { type CommandRules, findInlineCode, findProgramsIn, judgeCommand, unwrap } from './judge-command.ts';
export type { InlineCode, Word } from './look.ts';
