import { testCommandLines } from '@csc-fleet/test-kit/command-lines';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findInlineCode, unwrap } from './judge-command.ts';

const inline = `
busybox sh -c _
busybox ash -ec _
toybox sh -c _
env bash -c _
/usr/bin/env python3 -c _
env -i X=1 sh -c _
env - sh -c _
env -u HOME -C /tmp sh -c _
env --unset=HOME --chdir /tmp sh -c _
env -- sh -c _
env A=1 B=2 node -e _
env -S_
env --split-string=_
env --spl=_ x
env BASH_ENV=_ bash x.sh
env BASH_FUNC_ls%%=_ bash x.sh
env GIT_SSH_COMMAND=_ git fetch
env NODE_OPTIONS=--import=data:text/javascript,1 node x.js
timeout 5 bash -c _
timeout -s KILL 5 bash -c _
timeout -sKILL -k 3 5 bash -c _
timeout --signal=KILL --kill-after 3 5 bash -c _
timeout --sig KILL 5 bash -c _
nice python -c _
nice -n 5 python -c _
nice -n5 python -c _
nice -5 python -c _
nice --adjustment=5 python -c _
ionice -c 3 python -c _
ionice -c3 -n 7 -t python -c _
nohup sh -c _
setsid -w sh -c _
stdbuf -oL sh -c _
stdbuf -o L -e 0 sh -c _
time -f %e sh -c _
chroot / sh -c _
chroot --userspec=1:1 / sh -c _
unshare -r -n sh -c _
unshare --map-root-user --propagation private sh -c _
nsenter -t 1 -m sh -c _
setpriv --reuid 1 --clear-groups sh -c _
setarch x86_64 -R sh -c _
setarch -R sh -c _
linux32 sh -c _
x86_64 sh -c _
chrt -b 0 sh -c _
chrt --idle sh -c _
taskset -c 0 sh -c _
taskset 0x1 sh -c _
prlimit --nofile=10 sh -c _
prlimit -n10 sh -c _
flock /tmp/lock sh -c _
flock -w 5 /tmp/lock sh -c _
flock /tmp/lock -c _
flock /tmp/lock --command _
script -c _ /dev/null
script -q /dev/null -c _
script --command=_ out
watch _
watch -n 1 make
watch -x sh -c _
parallel make
parallel -j 2 echo ::: a b
sudo sh -c _
sudo -u root A=1 sh -c _
sudo -s make
sudo -i
su -c _
su root -c _
su - root --command=_
runuser -u job -- sh -c _
runuser job -c _
doas sh -c _
strace -f -o out sh -c _
strace -o |_ make
ltrace -f sh -c _
valgrind --tool=memcheck sh -c _
gdb --args sh -c _
/lib64/ld-linux-x86-64.so.2 /usr/bin/bash -c _
/lib64/ld-linux-x86-64.so.2 --library-path /lib bash -c _
ld.so --argv0 x /bin/sh -c _
qemu-x86_64-static -L / /bin/sh -c _
faketime 2020-01-01 sh -c _
dbus-run-session -- sh -c _
command sh -c _
xargs sh -c _
xargs -n 1 sh -c _
xargs -0 -n1 -P4 sh -c _
xargs -I{} sh -c _
xargs -I {} bash {}
xargs python3
xargs -r node
find . -exec sh -c _ ;
find . -name x -execdir bash -c _ {} +
find . -ok sh -c _ ;
find . -exec true ; -exec sh -c _ ;
fd -e txt -x sh -c _
npx -c _
npm exec -c _
npm exec --call=_
npm x -- sh -c _
npm explore lodash -- _
npx --yes node -e _
pnpm exec node -e _
yarn exec _
bundle exec ruby -e _
uv run python -c _
poetry run python -c _
ccache sh -c _
cmake -E env A=1 sh -c _
cmake -E time python3 -W ; -c _
cmake -E chdir /tmp sh -c _
ctest --build-and-test a b --test-command sh -c _
`;

const notInline = `
env A=1 make
env -i PATH=/bin make test
env -u HOME make
env FOO=-c make
env EDITOR=true GIT_PAGER=cat git commit
env NODE_OPTIONS=--max-old-space-size=512 node x.js
env MAKEFLAGS=-j4 make
env -S make all
env python3 x.py -c y
timeout 60 make test
timeout 5 bash script.sh -c x
timeout -k 5 60 python3 x.py -c
nice -n 10 make -j2
nice make -c
ionice -c 3 make
nohup make
stdbuf -oL make
time -p make
setsid make
taskset -c 0-1 make
taskset -p 1
chrt -b 0 make
flock /tmp/lock make -c
prlimit --nofile=10 make
watch -x make
setarch x86_64 -R make
strace -f -o out make
valgrind --leak-check=full ./test -c x
faketime 2020-01-01 make
xargs rm
xargs -n 1 grep -c x
xargs -I{} cp {} out
xargs python3 x.py -c
xargs -I{} python3 x.py {}
xargs -I{} bash -- {}
find . -name *.c
find . -name x -exec grep -c y {} ;
find . -exec rm {} +
find . -exec bash script.sh {} -c ;
find . -exec bash {} ;
npm ci
npm test -- -c x
npm run build -- -e x
npx vitest run -c x
npm exec -- vitest -c x
uv run pytest -c x
busybox ls -c
`;

const onlyPiped = `
env sh
env -i A=1 bash
timeout 5 sh
nice -n 5 bash -x
unshare -r
chroot /
su
sudo bash
busybox sh
`;

testCommandLines({ inline, notInline, onlyPiped });

it('says which program takes it, by what, and where', () => {
  const argv = ['timeout', '5', 'env', 'A=1', 'bash', '-lc', 'secret'];
  expect(findInlineCode(argv)).toEqual({ program: 'bash', by: '-c', at: 5 });
});

describe('unwrap', () => {
  it.each([
    [['make', '-j2'], []],
    [['timeout', '5', 'make'], [['make']]],
    [
      ['env', 'A=1', 'nice', '-n', '5', 'make', 'all'],
      [
        ['nice', '-n', '5', 'make', 'all'],
        ['make', 'all'],
      ],
    ],
    [
      ['find', '.', '-exec', 'a', '{}', ';', '-execdir', 'b', '{}', '+'],
      [
        ['a', '{}'],
        ['b', '{}'],
      ],
    ],
    [
      ['env', '-S', 'A=1 nice make', 'all'],
      [
        ['nice', 'make', 'all'],
        ['make', 'all'],
      ],
    ],
    [['unshare', '-r'], [['sh']]],
    [['su', 'ann', 'script.sh'], [['sh', 'script.sh']]],
    [['tar', '-I', 'zstd -19', '-cf', 'a', 'b'], [['zstd', '-19']]],
    [['git', 'bisect', 'run', 'make', 'check'], [['make', 'check']]],
    [['busybox', 'ls', '-l'], [['ls', '-l']]],
    [['taskset', '-p', '1'], []],
  ])('%j', (argv, expected) => {
    expect(unwrap(argv)).toEqual(expected);
  });
});

describe('wrappers around wrappers', () => {
  const wrapping = fc.constantFrom(
    ['env'],
    ['env', '-i', 'A=1'],
    ['/usr/bin/env', '-u', 'X', '--'],
    ['timeout', '5'],
    ['timeout', '-k', '1', '--signal=KILL', '9s'],
    ['nice'],
    ['nice', '-n', '5'],
    ['nice', '-19'],
    ['ionice', '-c3'],
    ['nohup'],
    ['setsid', '-fw'],
    ['stdbuf', '-oL', '-e', '0'],
    ['time', '-f', '%e'],
    ['chroot', '/'],
    ['unshare', '-rn'],
    ['setpriv', '--nnp', '--reuid', '1'],
    ['setarch', 'x86_64', '-R'],
    ['linux64'],
    ['chrt', '-b', '0'],
    ['taskset', '-c', '0'],
    ['prlimit', '--nofile=9'],
    ['flock', '-w', '5', '/tmp/l'],
    ['sudo', '-u', 'root', 'A=1'],
    ['runuser', '-u', 'job', '--'],
    ['watch', '-x'],
    ['strace', '-f', '-e', 'trace=file'],
    ['valgrind', '--tool=none'],
    ['busybox'],
    ['/lib64/ld-linux-x86-64.so.2', '--library-path', '/lib'],
    ['xargs', '-n', '1'],
    ['xargs', '-I', '{}'],
    ['find', '.', '-name', 'x', '-exec'],
    ['npm', 'exec', '--'],
    ['cmake', '-E', 'env', 'A=1'],
    ['ccache'],
  );
  const code = fc.constantFrom(
    ['sh', '-c', 'id'],
    ['bash', '-euo', 'pipefail', '-c', 'id'],
    ['python3', '-W', 'ignore', '-c', 'x'],
    ['node', '-r', './x.js', '-e', 'x'],
    ['perl', '-lane', 'x'],
    ['/usr/bin/ruby', '-ne', 'x'],
    ['git', '-c', 'alias.x=!id', 'x'],
    ['tar', '-cf', 'a', '--to-command=id', 'x'],
    ['awk', 'BEGIN{system("id")}'],
  );
  const file = fc.constantFrom(
    ['bash', 'x.sh', '-c', 'y'],
    ['python3', 'x.py', '-c'],
    ['make', '-c'],
    ['git', 'log'],
  );
  const chain = fc.array(wrapping, { maxLength: 12 });

  it('never hide code', () => {
    fc.assert(
      fc.property(chain, code, (wraps, argv) => {
        expect(findInlineCode([...wraps.flat(), ...argv])).toBeDefined();
      }),
      { numRuns: 1000 },
    );
  });

  it('make no code of a file', () => {
    fc.assert(
      fc.property(chain, file, (wraps, argv) => {
        expect(findInlineCode([...wraps.flat(), ...argv])).toBeUndefined();
        const runs = unwrap([...wraps.flat(), ...argv]);
        expect(wraps.length === 0 || runs.some((run) => argv.every((word, at) => run[at] === word))).toBe(
          true,
        );
      }),
      { numRuns: 1000 },
    );
  });

  it('end, whatever the words are', () => {
    const word = fc.oneof(
      wrapping.chain((words) => fc.constantFrom(...words)),
      fc.string(),
      fc.constant('-S'),
    );
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 200 }), fc.boolean(), (argv, piped) => {
        const found = findInlineCode(argv, { piped });
        expect(found === undefined || found.at < argv.length).toBe(true);
      }),
    );
  });
});
