import * as z from 'zod';
import { name, nonEmptyText, uniqueList } from '../schema/index.ts';

/**
 * One entry of effect_rules (protocol §9): what an argv really does, whatever the contract says of it. Made anew by
 * each call.
 */
export function makeEffectRuleSchema() {
  return z
    .strictObject({
      program: name
        .refine((text) => text.startsWith('/') || !text.includes('/'), {
          error: 'must be a name, or an absolute path',
        })
        .meta({
          minLength: 1,
          description:
            'argv[0]: a name, also at the end of a path, or an absolute path, which must be the same.',
        }),
      subcommands: uniqueList(nonEmptyText, 1).exactOptional().meta({
        uniqueItems: true,
        description:
          'The words after the program, options left out, begin with one of these, as in `log` or `stash list`. If absent, any.',
      }),
      flags: uniqueList(nonEmptyText, 1).exactOptional().meta({
        uniqueItems: true,
        description:
          'Options that take no value. Of any other before a subcommand both is thought: that it takes the next word, and not.',
      }),
      any_word: uniqueList(nonEmptyText, 1).exactOptional().meta({
        uniqueItems: true,
        description:
          'One of the words is among these: `--force` (also cut short, or with =VALUE), `-f` (also among other letters), `+*` (all that begins so), or a word as it stands. A rule with any_word only ever raises an effect.',
      }),
      effect: z
        .string()
        .regex(/^[a-z][a-z0-9_]*$/, 'must be an effect type, or a name of your own in the same style')
        .meta({
          description:
            'One of the six effect types; or a name of your own, such as rewrite_history, which reaches furthest and which no allowed_effect_types can hold, so that what has it is denied.',
        }),
    })
    .meta({ id: 'EffectRule' });
}

export type EffectRule = z.infer<ReturnType<typeof makeEffectRuleSchema>>;
