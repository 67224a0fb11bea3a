import type { Grammar, ProgramNames } from './grammar.ts';

/** A program whose first operand says what it does. Lists are apart by spaces. */
export interface SubcommandTool {
  /** Of the file name. */
  readonly names: ProgramNames;
  /** All its options before the subcommand: one that is not listed is refused, as it may hide which word that is. */
  readonly grammar: Grammar;
  /** Of those, the ones that change which files, settings, servers or programs it works with: a rule must name them. */
  readonly careful?: string;
  /** What its first word, before the options, looks like where it is none of them: `+nightly` of cargo. */
  readonly leading?: RegExp;
  /** All its subcommands, where it matters: those that abbreviations may mean. */
  readonly commands?: string;
  /** Other names of a subcommand: `list:ls`. */
  readonly aliases?: string;
  /** A subcommand may be cut short. */
  readonly abbreviates?: true;
  /** How it reads the spelling of a subcommand. */
  readonly fold?: (text: string) => string;
  /** Subcommands with subcommands of their own: `stash` of git has `stash list`. */
  readonly groups?: string;
  /** Its options are read behind the subcommand too, and there are no others. */
  readonly everywhere?: true;
  /** How options behind the subcommand are read where `details` do not say. Absent: any, and what they take is open. */
  readonly behind?: Grammar;
  /** What is known of single subcommands. */
  readonly details?: Readonly<Record<string, SubcommandDetail>>;
  /** Every operand is a subcommand: the targets of make. */
  readonly several?: true;
}

/** What is known of one subcommand. */
export interface SubcommandDetail {
  readonly grammar: Grammar;
  /** The grammar lists all options: one that it does not is refused. */
  readonly closed?: true;
  /** Options that mean the same, a pair a word: `f:force`. */
  readonly same?: string;
  /** Of a group: options that are a subcommand of it, in an older way to say it: `list:list` for `git config --list`. */
  readonly acts?: string;
  /** Of a group: all its subcommands, and first the one that any other word stands behind: `git reflog HEAD`. */
  readonly nested?: string;
  /** Operands that say what an option says: a refspec that begins with `+` is `--force`. */
  readonly implied?: readonly { readonly operand: RegExp; readonly option: string }[];
}

/** A program without subcommands whose options this version knows. */
export interface PlainTool {
  readonly names: ProgramNames;
  readonly grammar: Grammar;
  /** A pair a word: `f:force`. */
  readonly same?: string;
  /** Its operands are paths. */
  readonly paths?: true;
}
