import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { judgeCommand } from './judge-command.ts';

/** Rows are command lines; `_` stands for one word with blanks in it. */
function split(line: string): string[] {
  return line.split(' ').map((word) => word.replace(/_$/, 'touch a b'));
}

const rules = { allowCommands: ['git', 'scalar', 'env', 'xargs', 'make', 'sort'], inlineCode: false };

const refused = `
git archive --remote=ext::_ HEAD
git archive --remote . --exec=_ HEAD
git bisect view git-remote-ext a
git bisect view tig
git bisect visualize remote-ext a _
git clone ext::_ a
git clone EXT::_ a
git clone fd::0 a
git clone foo::bar a
git clone hg://example.org/a b
git clone --template=hooks a b
git clone --te hooks a b
git clone -c core.gitProxy=_ a b
git config alias.x !_
git config --global core.sshCommand _
git config set core.fsmonitor _
git config set --global core.fsmonitor _
git config --add credential.helper !_
git config filter.x.smudge _
git config submodule.x.update !_
git cvsimport -d :ext;CVS_RSH=_ a
git cvsserver server
git daemon --access-hook=_ .
git daemon --access=_ .
git difftool -x _
git difftool --ext=_
git difftool -y -t vimdiff
git difftool --tool=../../../workspace/x
git fetch --upload-pack _ .
git fetch --upload-p=_ .
git fetch-pack --exec=_ . HEAD
git for-each-repo --config=a.b -c alias.x=!_ x
git for-each-repo --config a.b remote-ext a _
git grep -nO_ x
git grep --open=_ x
git hook run pre-commit
git hook run ../../x
git http-fetch --packfile=0 --index-pack-arg=remote-ext --index-pack-arg=_ http://a
git init --template=hooks a
git instaweb --httpd=_
git instaweb -b firefox
git ls-remote ext::_
git ls-remote --exec=_ .
git maintenance start
git merge -s x HEAD
git merge --strategy=../x HEAD
git merge-index ./x -a
git merge-index -o -q sh -a
git mergetool -t x
git -P --no-pager push --receive-pack=_ .
git --git-dir .git push --exec _ .
git pull -s x . main
git pull --upload-pack _ .
git push ext::_ main
git push --repo=ext::_ main
git rebase -s x main
git rebase --ex _ main
git cherry-pick --strategy=x HEAD
git remote add x ext::_
git remote-ext a _
git revert --strategy=x HEAD
git send-email --sendmail-cmd=_ a.patch
git send-email -sendmail-cmd _ a.patch
git send-email --SENDMAIL-CMD=_ a.patch
git send-email --to-c=_ a.patch
git send-email --cc-cmd _ a.patch
git send-email --smtp-server=/workspace/x a.patch
git send-pack --receive-pack=_ . main
git send-pack --exec _ . main
git shell -c _
git submodule add ext::_ a
git submodule foreach _
git submodule--helper foreach _
git submodule--helper update --update=!_
git svn fetch --authors-prog=./x
git svn -authors-prog ./x fetch
git web--browse --browser=x http://a
git-remote-ext a _
/usr/lib/git-core/git-send-pack --exec=_ .
git -c pull.twohead=x pull . main
git -c branch.main.mergeOptions=-sx merge HEAD
git -c branch.main.remote=ext::_ fetch
git -c core.alternateRefsCommand=_ fetch
git -c core.askPass=_ fetch
git -c credential.https://a.helper=_ fetch
git -c diff.external=_ diff
git -c diff.x.textconv=_ diff
git -c filter.x.clean=_ add .
git -c gpg.program=_ log --show-signature
git -c gpg.ssh.program=_ verify-commit HEAD
git -c include.path=x status
git -c init.templateDir=x clone a b
git -c interactive.diffFilter=_ add -p
git -c merge.x.driver=_ merge a
git -c mergetool.x.cmd=_ mergetool
git -c remote.origin.uploadpack=_ fetch
git -c remote.origin.vcs=ext fetch
git -c sendemail.toCmd=_ send-email x
git -c sequence.editor=_ rebase -i
git -c submodule.x.update=!_ submodule update
git -c trailer.x.command=_ commit
git -c uploadpack.packObjectsHook=_ fetch .
scalar -c alias.x=!_ list
env GIT_EXTERNAL_DIFF=_ git diff
env GIT_SSH=./x git fetch
env GIT_PROXY_COMMAND=_ git fetch
env GIT_SEQUENCE_EDITOR=_ git rebase -i
env GIT_CONFIG_GLOBAL=x git status
env GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.fsmonitor GIT_CONFIG_VALUE_0=_ git status
env GIT_TEMPLATE_DIR=x git clone a b
env GIT_DIFFTOOL_EXTCMD=_ git difftool--helper
env CVS_SERVER=_ git cvsimport a
xargs git grep x
xargs git fetch
xargs git
`;

const passed = `
git status
git status --short --branch
git log --oneline -c
git log --format=%H%x09%s -5
git log -S foo::bar
git log -G ext::sh
git diff --stat HEAD~1
git diff --ext-diff
git show HEAD:a.txt
git commit -m ext::sh
git commit -m !x
git commit --allow-empty -m _
git commit -c HEAD
git tag -a v1 -m hook
git branch -r
git blame a.c
git grep std::vector
git grep -n -e -O
git grep -nE x -- -O
git grep --or x
git grep -c x
git fetch origin
git fetch --update-head-ok origin
git fetch git@example.org:a/b.git main
git fetch https://example.org:8443/a.git
git clone ssh://git@example.org/a.git
git clone file:///workspace/a b
git clone --template= a b
git clone -c core.autocrlf=false a b
git push origin HEAD:refs/heads/main
git push -o ci.skip origin main
git push -u origin main
git remote add origin https://example.org/a.git
git remote -v
git remote set-url origin a:b
git merge -s ours x
git merge -S -m x y
git merge -Skeys y
git merge --strategy-option=theirs x
git merge -X ours x
git rebase main
git rebase -Xours main
git rebase --onto a b
git cherry-pick -s -x HEAD
git revert --no-edit HEAD
git config user.name x
git config --get alias.x
git config --get core.pager
git config --unset core.pager
git config get core.pager
git config core.pager
git config core.pager cat
git config core.hooksPath /dev/null
git config remote.origin.url a
git config --list
git config submodule.x.update rebase
git hook list
git help -a
git init
git init --template= a
git bisect start HEAD HEAD~5
git bisect good
git bisect view --stat
git bisect run make check
git maintenance run --task=gc
git merge-index git-merge-one-file -a
git merge-tree a b
git send-email --to=a@b.c --cc x@y.z --smtp-server=mail.example.org --smtp-server-port=25 a.patch
git send-pack origin main
git submodule update --init --recursive
git submodule status foreach
git submodule add https://example.org/a foreach
git difftool --tool-help
git archive -o a.tar HEAD
git archive --format=tar HEAD
git interpret-trailers --trailer a=b x
git for-each-ref --format=%(refname)
git for-each-repo --config=a.b status
git svn fetch --authors-file=x
git daemon --base-path=. --export-all
git stash push -m exec
git worktree add ../x
git -c user.name=x -c user.email=y commit -m z
git -c core.editor=true rebase --continue
git -c branch.main.remote=origin fetch
git -c protocol.ext.allow=never fetch
git -c credential.helper= fetch
git -c protocol.version=2 fetch
git --no-pager --git-dir=.git log
git-upload-pack .
env GIT_PAGER=cat GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null git log
env GIT_EDITOR=true GIT_SEQUENCE_EDITOR=: git rebase -i
env GIT_AUTHOR_NAME=x GIT_TERMINAL_PROMPT=0 git commit -m x
xargs git add --
xargs git grep x --
`;

function rows(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

describe('what git is told to run in argv', () => {
  it.each(rows(refused))('is found: %s', (line) => {
    expect(judgeCommand(split(line), rules)).not.toEqual([]);
  });

  it.each(rows(passed))('is not seen where there is none: %s', (line) => {
    expect(judgeCommand(split(line), rules)).toEqual([]);
  });

  it('may be a program that the policy names', () => {
    expect(judgeCommand(['git', 'merge-index', 'sort', '-a'], rules)).toEqual([]);
  });
});

// The claim behind the table, from git itself: each of these runs a program of the attacker's.
describe('git of this host', () => {
  let base: string;
  let repository: string;

  beforeAll(() => {
    base = mkdtempSync(join(tmpdir(), 'csc-git-'));
    repository = join(base, 'a');
    const git = (...argv: string[]) => execFileSync('git', argv, { cwd: repository, env: environment() });
    mkdirSync(join(base, 'template', 'hooks'), { recursive: true });
    writeFileSync(join(base, 'template', 'hooks', 'post-checkout'), '#!/bin/sh\ntouch "$RAN"\n', {
      mode: 0o755,
    });
    writeFileSync(join(base, 'git-merge-own'), '#!/bin/sh\ntouch "$RAN"\n', { mode: 0o755 });
    mkdirSync(repository);
    git('init', '-q', '-b', 'main');
    writeFileSync(join(repository, 'f'), 'one\n');
    git('add', 'f');
    git('commit', '-qm', 'one');
    git('checkout', '-qb', 'side');
    writeFileSync(join(repository, 'f'), 'two\n');
    git('commit', '-qam', 'two');
    git('checkout', '-q', 'main');
    writeFileSync(join(repository, 'f'), 'three\n');
    git('commit', '-qam', 'three');
  });

  afterAll(() => rmSync(base, { recursive: true, force: true }));

  function environment(ran = ''): NodeJS.ProcessEnv {
    return {
      PATH: `${process.env['PATH']}:${base}`,
      HOME: base,
      RAN: ran,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_AUTHOR_NAME: 'a',
      GIT_AUTHOR_EMAIL: 'a@example.org',
      GIT_COMMITTER_NAME: 'a',
      GIT_COMMITTER_EMAIL: 'a@example.org',
    };
  }

  const touch = 'touch "$RAN"; false';
  it.each([
    ['send-pack', '--receive-pack', touch, '.', 'main'],
    ['remote-ext', 'x', 'sh -c touch% "$RAN"'],
    ['fetch-pack', `--exec=${touch}`, '.', 'HEAD'],
    ['ls-remote', `--upload-p=${touch}`, '.'],
    ['push', `--ex=${touch}`, '.', 'main:x'],
    ['archive', '--remote=.', `--exec=${touch}`, 'HEAD'],
    ['-c', 'protocol.ext.allow=always', 'ls-remote', 'ext::sh -c touch% "$RAN"'],
    ['for-each-repo', '--config=user.list', 'ls-remote', `--upload-pack=${touch}`, '.'],
    ['difftool', '-y', '-x', touch, 'HEAD~1'],
    ['rebase', '-q', '-x', 'touch "$RAN"', 'HEAD~1'],
    ['merge', '-s', 'own', 'side'],
    ['clone', '-q', '--template=../template', '.', '../clone'],
    ['hook', 'run', '../../../template/hooks/post-checkout'],
    ['grep', '-Osh -c "touch $RAN"', 'three'],
    ['-c', 'core.fsmonitor=touch "$RAN"; false', 'status'],
  ])('runs it, and the rules find it: git %s %s', (...argv) => {
    const ran = join(base, 'ran');
    rmSync(ran, { force: true });
    const env = environment(ran);
    execFileSync('git', ['config', '--file', join(base, '.gitconfig'), 'user.list', repository], { env });
    // What a remote helper is asked for, on its stdin.
    const input = 'connect git-upload-pack\n\n';
    spawnSync('git', argv, { cwd: repository, env, input, timeout: 20_000 });
    expect(existsSync(ran)).toBe(true);
    expect(judgeCommand(['git', ...argv], rules)).not.toEqual([]);
  });
});
