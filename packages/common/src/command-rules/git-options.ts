import type { Grammar } from './grammar.ts';
import type { SubcommandDetail } from './subcommand-tool.ts';

// gitcli(7): long options may be cut short, `--no-NAME` undoes `--NAME`, and options and operands come in any order.
const gnuStyle = { abbreviations: true, permutes: true } as const;

/** How options behind a subcommand are read that is not listed below. */
export const gitBehind: Grammar = { short: '', numeric: true, ...gnuStyle };

/** A subcommand as `git NAME -h` lists its options (2.39); newer ones may have others. */
function listed(short: string, long: string, same: string): SubcommandDetail {
  // `-3` is an option of its own to some, and to others a number.
  const number = /\d/.test(short) ? {} : { numeric: true as const };
  return { grammar: { short, long: `${long} no-*`, ...number, ...gnuStyle }, same };
}

// git-log(1), git-diff(1): what takes a value, and what has two names.
const looking: SubcommandDetail = {
  grammar: {
    short: 'pusicgEFPabwWrtzRDn:S:G:O:L:U::M::C::B::X::l:',
    long: `output= format= pretty? author= committer= grep= since= until= after= before= max-count= skip= date=
      diff-filter= inter-hunk-context= word-diff-regex= output-indicator-new= output-indicator-old= src-prefix= dst-prefix=
      decorate-refs= glob= exclude= branches? tags? remotes? ext-diff textconv patch no-patch unified= find-renames?
      find-copies? break-rewrites? no-*`,
    numeric: true,
    ...gnuStyle,
  },
  same: `p:patch u:patch s:no-patch n:max-count U:unified M:find-renames C:find-copies B:break-rewrites i:regexp-ignore-case
    E:extended-regexp F:fixed-strings P:perl-regexp g:walk-reflogs a:text b:ignore-space-change w:ignore-all-space
    W:function-context X:dirstat D:irreversible-delete`,
};

const pushing: SubcommandDetail = {
  grammar: {
    short: 'vqdnfu46o:',
    long: `verbose quiet repo= all branches mirror delete tags dry-run porcelain force force-with-lease?
      force-if-includes recurse-submodules= thin receive-pack= exec= set-upstream progress prune verify follow-tags
      signed? atomic push-option= ipv4 ipv6 no-*`,
    ...gnuStyle,
  },
  closed: true,
  same: 'v:verbose q:quiet d:delete n:dry-run f:force u:set-upstream 4:ipv4 6:ipv6 o:push-option',
  // git-push(1): `+` forces one refspec, and an empty source deletes; of both, either is enough.
  implied: [
    { operand: /^\+/, option: '--force' },
    { operand: /^\+?:(?=.)/, option: '--delete' },
  ],
};

/** What is known of the options of git's subcommands. */
export const gitDetails: Readonly<Record<string, SubcommandDetail>> = {
  push: pushing,
  config: {
    grammar: {
      short: 'f:lz',
      long: `file= blob= type= default= global system local worktree list get get-all get-regexp get-urlmatch null name-only
        show-origin show-scope includes bool int bool-or-int bool-or-str path expiry-date no-includes no-type`,
      abbreviations: true,
    },
    acts: 'l:list list:list get:get get-all:get get-regexp:get get-urlmatch:get',
  },
  reflog: { ...looking, nested: 'show list expire delete drop exists write' },
  log: looking,
  show: looking,
  diff: looking,
  'diff-tree': looking,
  'diff-index': looking,
  'diff-files': looking,
  whatchanged: looking,
  'stash show': looking,
  add: listed(
    'nvipefuNA',
    `dry-run verbose interactive patch edit force update renormalize intent-to-add all ignore-removal refresh
      ignore-errors ignore-missing sparse chmod= pathspec-from-file= pathspec-file-nul`,
    'n:dry-run v:verbose i:interactive p:patch e:edit f:force u:update N:intent-to-add A:all',
  ),
  am: listed(
    'i3qsukmcC:p:rS::',
    `interactive 3way quiet signoff utf8 keep keep-non-patch message-id keep-cr no-keep-cr scissors quoted-cr=
      whitespace= ignore-space-change ignore-whitespace directory= exclude= include= patch-format= reject
      resolvemsg continue resolved skip abort quit show-current-patch? allow-empty committer-date-is-author-date
      ignore-date rerere-autoupdate gpg-sign? empty=`,
    `i:interactive 3:3way q:quiet s:signoff u:utf8 k:keep m:message-id c:scissors r:resolved S:gpg-sign`,
  ),
  apply: listed(
    'p:N3zC:Rvq',
    `exclude= include= no-add stat numstat summary check index intent-to-add cached unsafe-paths apply 3way
      build-fake-ancestor= whitespace= ignore-space-change ignore-whitespace reverse unidiff-zero reject
      allow-overlap verbose quiet inaccurate-eof recount directory= allow-empty`,
    'N:intent-to-add 3:3way R:reverse v:verbose q:quiet',
  ),
  branch: listed(
    'vqt::u:radDmMcClfi',
    `verbose quiet track? set-upstream-to= unset-upstream color? remotes contains= no-contains= abbrev? all
      delete move copy list show-current create-reflog edit-description force merged= no-merged= column? sort=
      points-at= ignore-case recurse-submodules format=`,
    `v:verbose q:quiet t:track u:set-upstream-to r:remotes a:all d:delete m:move c:copy l:list f:force
      i:ignore-case D:delete M:move C:copy`,
  ),
  checkout: listed(
    'b:B:lqmdt::f23p',
    `guess overlay quiet recurse-submodules? progress merge conflict= detach track? force orphan=
      overwrite-ignore ignore-other-worktrees ours theirs patch ignore-skip-worktree-bits pathspec-from-file=
      pathspec-file-nul`,
    'q:quiet m:merge d:detach t:track f:force 2:ours 3:theirs p:patch',
  ),
  'cherry-pick': listed(
    'nesm:X:S::x',
    `quit continue abort skip cleanup= no-commit edit signoff mainline= rerere-autoupdate strategy=
      strategy-option= gpg-sign? ff allow-empty allow-empty-message keep-redundant-commits`,
    'n:no-commit e:edit s:signoff m:mainline X:strategy-option S:gpg-sign',
  ),
  clean: listed(
    'qnfide:xX',
    'quiet dry-run force interactive exclude=',
    'q:quiet n:dry-run f:force i:interactive e:exclude',
  ),
  clone: listed(
    'vqnlsj:o:b:u:c:46',
    `verbose quiet progress reject-shallow no-checkout bare mirror local no-hardlinks shared recurse-submodules?
      recursive? jobs= template= reference= reference-if-able= dissociate origin= branch= upload-pack= depth=
      shallow-since= shallow-exclude= single-branch no-tags shallow-submodules separate-git-dir= config=
      server-option= ipv4 ipv6 filter= also-filter-submodules remote-submodules sparse bundle-uri=`,
    `v:verbose q:quiet n:no-checkout l:local s:shared j:jobs o:origin b:branch u:upload-pack c:config 4:ipv4
      6:ipv6`,
  ),
  commit: listed(
    'qvF:m:c:C:st:eS::aiponzu::',
    `quiet verbose file= author= date= message= reedit-message= reuse-message= fixup= squash= reset-author
      trailer= signoff template= edit cleanup= status gpg-sign? all include interactive patch only no-verify
      dry-run short branch ahead-behind porcelain long null amend no-post-rewrite untracked-files?
      pathspec-from-file= pathspec-file-nul`,
    `q:quiet v:verbose F:file m:message c:reedit-message C:reuse-message s:signoff t:template e:edit S:gpg-sign
      a:all i:include p:patch o:only n:no-verify z:null u:untracked-files`,
  ),
  fetch: listed(
    'vqafmtnj:pPkuo:46',
    `verbose quiet all set-upstream append atomic upload-pack= force multiple tags jobs= prefetch prune
      prune-tags recurse-submodules? dry-run write-fetch-head keep update-head-ok progress depth= shallow-since=
      shallow-exclude= deepen= unshallow refetch update-shallow refmap= server-option= ipv4 ipv6 negotiation-tip=
      negotiate-only filter= auto-maintenance auto-gc show-forced-updates write-commit-graph stdin`,
    `v:verbose q:quiet a:append f:force m:multiple t:tags j:jobs p:prune P:prune-tags k:keep u:update-head-ok
      o:server-option 4:ipv4 6:ipv6`,
  ),
  'format-patch': listed(
    'nNsv:o:kpq',
    `numbered no-numbered signoff stdout cover-letter numbered-files suffix= start-number= reroll-count=
      filename-max-length= rfc cover-from-description= subject-prefix= output-directory= keep-subject no-binary
      zero-commit ignore-if-in-upstream no-stat add-header= to= cc= from? in-reply-to= attach? inline? thread?
      signature= base= signature-file= quiet progress interdiff= range-diff= creation-factor= force-in-body-from`,
    `n:numbered N:no-numbered s:signoff v:reroll-count o:output-directory k:keep-subject p:no-stat q:quiet`,
  ),
  grep: listed(
    'viwaIrEGFPnhHlLzocC:B:A:pWf:e:qO::m:',
    `cached no-index untracked exclude-standard recurse-submodules invert-match ignore-case word-regexp text
      textconv recursive max-depth= extended-regexp basic-regexp fixed-strings perl-regexp line-number column
      full-name files-with-matches name-only files-without-match null only-matching count color? break heading
      context= before-context= after-context= threads= show-function function-context and or not quiet all-match
      open-files-in-pager? ext-grep max-count=`,
    `v:invert-match i:ignore-case w:word-regexp a:text r:recursive E:extended-regexp G:basic-regexp
      F:fixed-strings P:perl-regexp n:line-number l:files-with-matches L:files-without-match z:null
      o:only-matching c:count C:context B:before-context A:after-context p:show-function W:function-context
      q:quiet O:open-files-in-pager m:max-count`,
  ),
  init: listed(
    'qb:',
    'template= bare shared? quiet separate-git-dir= initial-branch= object-format=',
    'q:quiet b:initial-branch',
  ),
  'ls-files': listed(
    'ztvfcdmoiskux:X:',
    `cached deleted modified others ignored stage killed directory eol empty-directory unmerged resolve-undo
      exclude= exclude-from= exclude-per-directory= exclude-standard full-name recurse-submodules error-unmatch
      with-tree= abbrev? debug deduplicate sparse format=`,
    `c:cached d:deleted m:modified o:others i:ignored s:stage k:killed u:unmerged x:exclude X:exclude-from`,
  ),
  'ls-remote': listed(
    'qtho:',
    'quiet upload-pack= tags heads refs get-url sort= exit-code symref server-option=',
    'q:quiet t:tags h:heads o:server-option',
  ),
  merge: listed(
    'nes:X:m:F:vqS::',
    `stat summary log? squash commit edit cleanup= ff ff-only rerere-autoupdate verify-signatures strategy=
      strategy-option= message= file= into-name= verbose quiet abort quit continue allow-unrelated-histories
      progress gpg-sign? autostash overwrite-ignore signoff no-verify`,
    'e:edit s:strategy X:strategy-option m:message F:file v:verbose q:quiet S:gpg-sign',
  ),
  mv: listed('vnfk', 'verbose dry-run force sparse', 'v:verbose n:dry-run f:force'),
  pull: listed(
    'vqr::ns:X:S::aftpj::ko:46',
    `verbose quiet progress recurse-submodules? rebase? stat log? signoff? squash commit edit cleanup= ff ff-only
      verify verify-signatures autostash strategy= strategy-option= gpg-sign? allow-unrelated-histories all append
      upload-pack= force tags prune jobs? dry-run keep depth= shallow-since= shallow-exclude= deepen= unshallow
      update-shallow refmap= server-option= ipv4 ipv6 negotiation-tip= show-forced-updates set-upstream`,
    `v:verbose q:quiet r:rebase s:strategy X:strategy-option S:gpg-sign a:append f:force t:tags p:prune j:jobs
      k:keep o:server-option 4:ipv4 6:ipv6`,
  ),
  rebase: listed(
    'qvnC:fmiS::x:r::s:X:',
    `onto= keep-base no-verify quiet verbose no-stat signoff committer-date-is-author-date reset-author-date
      ignore-whitespace whitespace= force-rebase no-ff continue skip abort quit edit-todo show-current-patch apply
      merge interactive rerere-autoupdate empty= autosquash update-refs gpg-sign? autostash exec= rebase-merges?
      fork-point strategy= strategy-option= root reschedule-failed-exec reapply-cherry-picks`,
    `q:quiet v:verbose n:no-stat f:force-rebase m:merge i:interactive S:gpg-sign x:exec r:rebase-merges
      s:strategy X:strategy-option`,
  ),
  reset: listed(
    'qpN',
    `quiet no-refresh mixed soft hard merge keep recurse-submodules? patch intent-to-add pathspec-from-file=
      pathspec-file-nul`,
    'q:quiet p:patch N:intent-to-add',
  ),
  restore: listed(
    's:SWqm23p',
    `source= staged worktree ignore-unmerged overlay quiet recurse-submodules? progress merge conflict= ours
      theirs patch ignore-skip-worktree-bits pathspec-from-file= pathspec-file-nul`,
    's:source S:staged W:worktree q:quiet m:merge 2:ours 3:theirs p:patch',
  ),
  revert: listed(
    'nesm:X:S::',
    `quit continue abort skip cleanup= no-commit edit signoff mainline= rerere-autoupdate strategy=
      strategy-option= gpg-sign? reference`,
    'n:no-commit e:edit s:signoff m:mainline X:strategy-option S:gpg-sign',
  ),
  rm: listed(
    'nqfr',
    'dry-run quiet cached force ignore-unmatch sparse pathspec-from-file= pathspec-file-nul',
    'n:dry-run q:quiet f:force',
  ),
  status: listed(
    'vsbzu::M::',
    `verbose short branch show-stash ahead-behind porcelain? long null untracked-files? ignored?
      ignore-submodules? column? no-renames find-renames?`,
    'v:verbose s:short b:branch z:null u:untracked-files M:find-renames',
  ),
  switch: listed(
    'c:C:qmdt::f',
    `create= force-create= guess discard-changes quiet recurse-submodules? progress merge conflict= detach track?
      force orphan= overwrite-ignore ignore-other-worktrees`,
    'c:create C:force-create q:quiet m:merge d:detach t:track f:force',
  ),
  tag: listed(
    'ln::dvam:F:esu:fi',
    `list delete verify annotate message= file= edit sign cleanup= local-user= force create-reflog column?
      contains= no-contains= merged= no-merged= sort= points-at= format= color? ignore-case`,
    `l:list d:delete v:verify a:annotate m:message F:file e:edit s:sign u:local-user f:force i:ignore-case`,
  ),
};
