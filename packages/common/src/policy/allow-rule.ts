import * as z from 'zod';
import { findSpellingFault } from '../command-rules/index.ts';
import { name, nonEmptyText, uniqueList } from '../schema/index.ts';

/** One entry of `allow`: what a program that has subcommands or options may be asked for. Made anew by each call. */
export function makeAllowRuleSchema() {
  const option = z.string().regex(/^-\S+$/, 'must be an option, as in --force or -f');
  return z
    .strictObject({
      program: name.meta({
        minLength: 1,
        description: 'argv[0], also at the end of a path. It must be one of allow_commands.',
      }),
      subcommands: uniqueList(nonEmptyText, 1).exactOptional().meta({
        uniqueItems: true,
        description:
          'Its subcommands, in full: `log`, `stash list`; `stash *` is stash and all below it. Of make and its like, the targets. If absent, any.',
      }),
      options: uniqueList(option, 0).exactOptional().meta({
        uniqueItems: true,
        description:
          'The only options that the subcommand may have, beside harmless ones of the program itself. If absent, any but deny_options.',
      }),
      global_options: uniqueList(option, 1).exactOptional().meta({
        uniqueItems: true,
        description:
          'Options of the program itself that say with which files, settings or servers it works, as in `-C` of git: none but these.',
      }),
      deny_options: uniqueList(option, 1).exactOptional().meta({
        uniqueItems: true,
        description:
          'Options that the subcommand must not have, however they are written: `-f` for `--force`, `-uf`, `--forc`, and `+main` for a push.',
      }),
      deny_operands: uniqueList(nonEmptyText, 1).exactOptional().meta({
        uniqueItems: true,
        description:
          'Operands that it must not have, with `*` for any characters. Of programs that take paths, such as rm: such a path, as seen from cwd, with `*` within a name, and all that it lies in.',
      }),
    })
    .superRefine(({ program, subcommands = [] }, context) => {
      for (const [index, subcommand] of subcommands.entries()) {
        const message = findSpellingFault(program, subcommand);
        if (message !== undefined)
          context.addIssue({ code: 'custom', path: ['subcommands', index], message });
      }
    })
    .meta({ id: 'AllowRule' });
}

export type AllowRule = z.infer<ReturnType<typeof makeAllowRuleSchema>>;
