import type { Word } from './word.ts';

// git(1) speaks these itself; for any other scheme, as for `NAME::…`, it runs `git-remote-NAME` (gitremote-helpers(7)).
const ownSchemes = /^(?:https?|ftps?|ssh|git|file|rsync|git\+ssh|ssh\+git)$/i;
const helperAddress = /^(?:--?[\w-]+=)?([a-z0-9][a-z0-9+.-]*)(::|:\/\/)/i;

/** What git would run to reach an address; undefined for one that it reaches by itself or by ssh. */
export type Transport =
  /** `ext::COMMAND` (git-remote-ext(1)) and `fd::N` (git-remote-fd(1)): a command line, or what an open descriptor says. */
  { readonly kind: 'code'; readonly by: string } | { readonly kind: 'helper'; readonly program: string };

/** Reads an address, alone or as the value of a long option: `--remote=ext::…`. */
export function transportOf({ text }: Pick<Word, 'text'>): Transport | undefined {
  const [, scheme = '', mark] = helperAddress.exec(text) ?? [];
  if (mark === undefined) return undefined;
  const name = scheme.toLowerCase();
  if (name === 'ext' || name === 'fd') return { kind: 'code', by: `${name}${mark}` };
  if (ownSchemes.test(name)) return undefined;
  return { kind: 'helper', program: `git-remote-${scheme}` };
}
