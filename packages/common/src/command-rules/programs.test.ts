import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { named } from './grammar.ts';
import { findInlineCode, unwrap } from './judge-command.ts';
import { tools } from './tool-table.ts';

/** Rows are command lines, in which `_` stands for code with blanks and quotes in it. */
function split(line: string): string[] {
  return line
    .split(' ')
    .map((word) => word.replace(/_$|(?<![A-Za-z0-9])_(?![A-Za-z0-9])/g, 'echo "a b"; id'));
}

const inline = `
sh -c _
bash -c _
bash -lc _
bash -ic _
bash -xec _
bash -c -- _
bash -c -x _
bash +c _
bash -e -c _
bash --norc -c _
bash --norc --noprofile -lc _
bash --rcfile /dev/null -c _
bash -init-file /dev/null -c _
bash -o pipefail -c _
bash -eo pipefail -c _
bash -euo pipefail -c _
bash -oc pipefail _
bash -O extglob -c _
bash +O extglob -c _
bash -s
bash -s a b
bash /dev/stdin
bash /dev/fd/0
bash /proc/self/fd/3
bash /dev//fd/../fd/0
/bin/sh -c _
/usr/bin/../bin/bash -c _
./bash -c _
bash-static -c _
dash -c _
dash -ec _
ash -c _
rbash -c _
zsh -c _
zsh -fc _
zsh -o extendedglob -c _
zsh -oextendedglob -c _
zsh -Rc _
zsh -O -c _
ksh -c _
ksh93 -o errexit -c _
mksh -c _
csh -c _
tcsh -fc _
fish -c _
fish --command=_
fish --command _
fish --comm=_
fish -N --init-command=_ x.fish
python -c _
python3 -c _
python3.11 -c _
/usr/bin/python3.13t -c _
pypy3 -c _
python2.7 -c _
python -Sc _
python -Ec _
python3 -Icprint(1)
python3 -cprint(1)
python -W ignore -c _
python -Wignore -c _
python -X utf8 -c _
python -BsS -X dev -c _
python3 --check-hash-based-pycs default -c _
python -
python3 -u -
python3 /dev/stdin
python3 -i build.py
python3 -m timeit _
python3 -mtimeit _
python3 -m code
python3 -m pdb -c _ x.py
node -e _
node -p _
node -pe _
node --eval _
node --eval=_
node --print _
node --print=_
node -r ./mod.js -e _
node -C development -e _
node --require=./x.js -e _
node --require ./x.js -e _
node --import ./x.mjs -p _
node --experimental-vm-modules -e _
node --max-old-space-size=512 -e _
node --input-type=module -e _
node --import data:text/javascript,_ app.js
node --import=data:text/javascript,_ app.js
node -
node -i
node --interactive
node inspect app.js
nodejs -e _
node-22 -e _
tsx -e _
ts-node -e _
deno eval _
deno --quiet eval _
deno run -
deno run -A -
deno run data:application/typescript;base64,AAAA
deno repl
bun -e _
bun --eval=_
bun exec _
bun run -
perl -e _
perl -E _
perl -ne _
perl -pe _
perl -lane _
perl -0777ne _
perl -l012e _
perl -i.bak -pe _
perl -pi -e _
perl -Mstrict -e _
perl -I lib -e _
perl -Ilib -e _
perl -CSDe _
perl -wTe _
perl -F: -lane _
perl5.36.0 -e _
perl5.36-x86_64-linux-gnu -e _
perl -Mstrict;_ x.pl
perl -mPOSIX;_ x.pl
perl -F/x/);_;( -an x.pl
perl -
ruby -e _
ruby -ne _
ruby -I lib -rjson -e _
ruby3.1 -W0 -e _
ruby --encoding utf-8 -e _
irb -e _
php -r _
php -B _
php -R _
php -E _
php --run _
php -d memory_limit=1G -r _
php8.2 -n -r _
php -d auto_prepend_file=data:text/plain,x -f x.php
php -a
php -f -
lua -e _
lua5.4 -l json -e _
luajit -e _
lua -i x.lua
lua -
tclsh /dev/stdin
jimsh -e _
expect -c _
expect -f -
expect -
Rscript -e _
Rscript --vanilla -e _
R -e _
R --no-save -e _
groovy -e _
groovy -cp lib -e _
ghc -e _
ghci -e _
osascript -e _
pwsh -Command _
pwsh -command _
pwsh -c _
pwsh -NoProfile -Command _
pwsh -EncodedCommand AAAA
pwsh -enc AAAA
pwsh -e AAAA
pwsh -ExecutionPolicy Bypass -C _
pwsh –c _
julia -e _
elixir -e _
erl -noshell -eval _
guile -c _
emacs --batch --eval _
vim -c _
vim +_ x
gdb -batch -ex _
gdb -ex=_
gdb --eval-command=_
java -XX:OnOutOfMemoryError=_ -jar a.jar
eval _
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
git -c alias.x=!id x
git -c core.sshCommand=_ fetch
git -c core.pager=_ log
git -C sub -c core.fsmonitor=_ status
git --config-env=core.editor=X commit
git -c protocol.ext.allow=always clone ext::sh
git --exec-path=/workspace x
git bisect run sh -c _
git submodule foreach _
git submodule --quiet foreach _
git rebase -x _ main
git rebase --exec=_ main
git difftool -x _
git clone -u _ a b
git clone --upload-pack=_ a b
git clone -c core.sshCommand=_ a b
git ls-remote --upload-pack=_ a
git grep -O_ x
git filter-branch --tree-filter _
tar -cf a.tar --to-command=_ x
tar xf a.tar --to-c=_
tar -cf a.tar --checkpoint=1 --checkpoint-action=exec=_ x
tar --use-compress-program=_ -xf a.tar
tar -I _ -xf a.tar
tar -xf a.tar -I _
tar xIf _ a.tar
tar -cMF _ -f a.tar x
make --eval=_
make -f -
make -f /dev/stdin
make X!=_
make X=$(shell\tid)
make MAKEFLAGS=--eval=x
rsync -e _ a b
sort --compress-program=_ a
split --filter=_ a
gcc -wrapper sh,-c,id x.c
go run -exec _ x.go
cargo --config target.x.runner="sh" run
rg --pre _ x
dc -e _
sqlite3 -cmd .shell x.db
sqlite3 x.db .shell\tid
sqlite3 x.db .sh\tid
sqlite3 x.db .output\t|id
sqlite3 x.db select\tedit('a','id')
sqlite3 -cmd .system\tid x.db
psql -c \\!\tid
psql --command=\\!id
psql -c \\o\t|id
psql -c copy\ta\tfrom\tprogram\t'id'
psql -o |id -c select
mysql -e \\!\tid
mysql --execute=system\tid
mysql -e select\t1;\tsystem\tid
mysql --pager=_ -e x
ssh -o ProxyCommand=_ host
ssh -oProxyCommand=_ host
ssh -o proxycommand\tid host
ssh -o PermitLocalCommand=yes -o LocalCommand=_ host
ssh host -o ProxyCommand=_
scp -o ProxyCommand=_ a b:
sftp -o KnownHostsCommand=_ b
nc -e /bin/sh host 1
ncat --sh-exec _ host 1
socat TCP:h:1 EXEC:_
socat SYSTEM:_ -
socat - stdio!!exec:_
npm ci --node-options=--import=data:text/javascript,_
sqlite3 -cmd .shell\tid x.db
sqlite3 x.db .once\t|id
sqlite3 x.db .import\t"|id"\tt
sqlite3 x.db .once\t-e
sqlite3 x.db .load\t./x.so
sqlite3 x.db .excel
duckdb -c .shell\tid
psql -c \\echo\t\`id\`
psql -c \\g\t|id
psql -c \\copy\tt\tfrom\tprogram\t'id'
psql -L |id
mysql -e system\tid
mysqlsh --py -e import\tos
ssh -F /dev/stdin host
ssh -I ./x.so host
sftp -b - host
apt-get -o DPkg::Pre-Invoke::=id update
apt -oAPT::Update::Post-Invoke::=id update
dpkg --pre-invoke=id -i x.deb
rpm --eval %(id)
node --import /dev/stdin x.js
node --import=file:///dev/stdin x.js
node -r /proc/self/fd/0 x.js
python3 -m cProfile -m timeit id
php php://stdin
npm config set script-shell /x/y
npm c set editor=x
npm pkg set scripts.test=id
npm pkg set --json scripts[test]=id
npm run x --script-shell=_
env npm_config_script-shell=x npm run x
env npm_config_git=x npm ci
env GOFLAGS=-toolexec=x go build
gawk -W source=BEGIN{system("id")}
sshpass -p x sh -c id
systemd-run sh -c id
tmux new-session id
pdflatex \\write18{id}
git filter-repo --commit-callback import\tos
m4 -Dx=syscmd(id)
yt-dlp --exec id x
nix-shell --run id
convert |id x.png
crontab -
git send-email --sendmail-cmd=id x
git send-email --sendmail-cmd id x
nc -e /bin/sh h 1
socat - EXEC:sh
awk BEGIN{system("id")}
mawk {print|"sh"}
gawk {"id"|getline;print}
awk -F: {print|"sort"} x
awk /"/;{"id"\t|\tgetline} x
awk {a/b;system("id")} x
awk {x++/"/;system("id")#/} x
awk {if(1)/"/;system("id");"} x
awk /[/]"/;{print|"sh"}#"/ x
awk {print\t/"/;system("id");"} x
awk {print("a|b")|"sh"} x
gawk -e BEGIN{f="sys";@f()}
gawk --source=BEGIN{system("id")}
awk -f -
awk -v x=1 -f /dev/stdin x
sed 1e x
sed s/a/id/e x
sed s,a,id,ge x
sed -n /x/,/y/{p;e\tid x
sed -e p -e e\tid x
sed --expression=s/x/id/e x
sed $!{s/[/]/x/;s/$/id/e} x
sed -f - x
`;

const notInline = `
make
make -j4 all
make -C sub CC=gcc X=1
make -f Makefile all
ls -c
grep -e pattern file
grep -c x file
cp -c a b
gcc -c x.c
gcc -E x.c
cc -o x x.c -lm
./configure --prefix=/x -c
python3 build.py
python3 build.py -c x
python3 ./build.py --eval -e x
python3 -u build.py -c x
python3 -W ignore build.py -c x
python3 -X utf8 build.py -c x
python3 -m pytest -c pytest.ini
python3 -mpytest -c x
python3 -m unittest discover
python3 -- -c
python3 -V
python3.11 -I build.py
bash script.sh
bash script.sh -c x
bash -e script.sh -c x
bash -eu script.sh -c x
bash -euo pipefail script.sh -c x
bash -o pipefail script.sh -c x
bash -O extglob script.sh -c x
bash --norc script.sh -c x
bash --rcfile rc script.sh -c x
bash -- script.sh -c x
bash - script.sh -c x
bash -x ./script.sh -s
sh ./gradlew build -c x
dash -n script.sh
zsh -f script.zsh -c x
ksh -o errexit script.ksh -c x
fish script.fish -c x
fish --no-config script.fish -c x
csh -f script.csh -c x
node app.js
node app.js -e
node app.js --eval x -p
node --max-old-space-size=4096 app.js -e x
node --experimental-vm-modules node_modules/.bin/jest -i -e x
node -r ./hook.js app.js -p
node --require ./hook.js app.js -e x
node --import ./hook.mjs --test a.test.js
node --test
node --check app.js
node -c app.js
node --env-file .env app.js -e
deno run app.ts -e
deno run --allow-read=. app.ts eval
deno test
bun run app.ts -e
bun test
perl script.pl -e x
perl -w script.pl -e x
perl -I lib script.pl -e
perl -Mstrict -w script.pl -e x
perl -MList::Util=sum,max script.pl
perl -c script.pl
perl -0777 -n script.pl x
perl -F: -an script.pl
ruby script.rb -e x
ruby -Ilib -rjson script.rb -e
ruby -w script.rb
php script.php -r x
php -f script.php -- -r x
php -d memory_limit=1G script.php
php -l x.php
lua script.lua -e x
lua -l json script.lua
tclsh script.tcl -e
expect script.exp -c
expect -f script.exp x
Rscript script.R -e x
R -f script.R
R CMD build .
groovy x.groovy -e
java -jar app.jar -e -c
java -cp a:b Main -e
pwsh -File x.ps1 -Command x
pwsh -NoProfile -File x.ps1 -c
pwsh x.ps1
julia x.jl -e
emacs --batch -l x.el
gdb --version
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
git status
git log --oneline -c
git commit -c HEAD
git -C sub status
git -c user.name=x -c user.email=y commit -m z
git -c core.pager=cat log
git -c color.ui=false diff
git -c core.hooksPath=/dev/null commit
git -c core.fsmonitor=false status
git --no-pager log -p
git grep -e x
git rebase main
git bisect run ./test.sh -c
git clone -b main a b
git push origin main
tar -cf a.tar x
tar czf a.tar.gz x
tar xf a.tar -C out
tar -I zstd -cf a.tar.zst x
tar --checkpoint=100 --checkpoint-action=dot -cf a.tar x
tar --use-compress-program=pigz -cf a.tgz x
sort -k 2 x
sort --compress-program=gzip x
rsync -a a/ b/
go test ./... -run x
cargo test --config x.toml
cmake -B build -DX=1
cmake -E make_directory x
cmake --build build
ctest -E slow
awk {print\t$1} x
awk -F| {print\t$2} x
awk -F: -v x=1 $1==x||$2>3 x
awk -f x.awk -e y
awk /ERROR|WARN/{print\t$2} x
awk $3~/a@b/{print} x
awk BEGIN{OFS="|"}{print\t$1,$2} x
awk /systemd/{print} x
awk {n+=$3/2;s="a|b"}END{print\tn/NR,s} x
awk $1=="system"{print\t"a@b"} x
awk {print\ta[1]/2}/x|y/{print} x
gawk --csv {n++}END{print\tn} x
sed s/a/b/g x
sed -n 1,5p x
sed -i.bak s/one/the/ x
sed -i s/[/]/e/ x
sed -e s/a/b/ -e /e/d x
sed -E s/(e)/\\1e/ x
sed -n /begin/,/end/p x
sed 5q x
sed $d x
sed y/abc/efe/ x
sed -f x.sed x
sed /x/a\\e x
sed --sandbox s/a/b/ x
sqlite3 x.db select\t1
sqlite3 x.db .tables
sqlite3 x.db .mode\tcsv select\t1
psql -c select\t1
psql -f x.sql
mysql -e select\t1
ssh host uptime
ssh -o ProxyCommand=none -o StrictHostKeyChecking=yes host
scp -P 22 a b:
nc -zv host 1
socat TCP:h:1 STDIO
npm run build --loglevel=error
npm ci --node-options=--max-old-space-size=512
sqlite3 x.db .separator\t|
sqlite3 -cmd .timeout\t1000 x.db select\t1
sqlite3 x.db .mode\tlist .separator\t"|" select\t1
sqlite3 x.db .read\tx.sql
sqlite3 x.db .output\tx.csv
sqlite3 x.db .import\tx.csv\tt
psql -c \\copy\tt\tto\t'x.csv'\tcsv
psql -c select\tprogram\tfrom\tt
psql -c \\d
psql -c \\timing -c select\t1
psql -o x.txt -c select\t1
mysql -e select\t'\\\\e\tsystem'
git commit -m fix:\ta|b\t!x
git commit -m ext::x
git commit -m !x
git commit --message=system("id")
git commit -am x
ssh -o StrictHostKeyChecking=no host
npm config get script-shell
npm config set registry x
npm pkg get scripts
npm pkg set version=1
npm version patch -m x
apt-get -o Acquire::Retries=3 update
node --import ./x.mjs x.js
less +/a x
convert a.png -resize 50% b.png
curl -o x https://x
go build ./...
pdflatex x.tex
jq .a|.b x
grep a|b x
gcc -o x x.c
dc -f x.dc
vim x
`;

// `bash -` without a script, and interpreters without anything, are harmless while stdin is empty.
const onlyPiped = `
bash
sh
/bin/sh
bash -
bash -x
bash -e -u
dash
zsh
fish
csh
python3
python3 -u
python3 -X utf8
node
node --no-warnings
perl
perl -w
ruby
php
lua
tclsh
expect
R --no-save
deno
bun
julia
jshell
env sh
env -i A=1 bash
timeout 5 sh
nice -n 5 bash -x
unshare -r
chroot /
su
sudo bash
busybox sh
gdb ./prog
sqlite3 x.db
psql
mysql x
sftp h
at now
ed x
m4
dc
`;

function rows(table: string): string[] {
  const lines = table.split('\n').filter((line) => line !== '');
  expect(new Set(lines).size).toBe(lines.length);
  return lines;
}

function toArgv(line: string): string[] {
  return split(line).map((word) => word.replaceAll('\\t', ' '));
}

describe('findInlineCode', () => {
  it.each(rows(inline))('finds it in %s', (line) => {
    expect(findInlineCode(toArgv(line))).toBeDefined();
  });

  it.each(rows(notInline))('finds none in %s', (line) => {
    expect(findInlineCode(toArgv(line))).toBeUndefined();
  });

  it.each(
    rows(notInline).filter((line) => !/^(?:R CMD|vim|gdb|python3 -V|sqlite3|node --test|perl -c)/.test(line)),
  )('finds none in %s where data is piped in', (line) => {
    expect(findInlineCode(toArgv(line), { piped: true })).toBeUndefined();
  });

  it.each(rows(onlyPiped))('finds code from a pipe in %s, and none without one', (line) => {
    expect(findInlineCode(toArgv(line), { piped: true })).toBeDefined();
    expect(findInlineCode(toArgv(line))).toBeUndefined();
  });

  it('says which program takes it, by what, and where', () => {
    const argv = ['timeout', '5', 'env', 'A=1', 'bash', '-lc', 'secret'];
    expect(findInlineCode(argv)).toEqual({ program: 'bash', by: '-c', at: 5 });
  });

  it('never quotes the code', () => {
    for (const line of rows(inline)) expect(findInlineCode(toArgv(line))?.by).not.toContain('a b');
  });
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

describe('the names of programs', () => {
  const patterns = [
    'sh',
    '[bd]?ash',
    'g?env',
    'r',
    'ab?',
    'ts-node(?:-esm)?',
    'vim\\.\\w+',
    '(?:im-)?convert',
    'a+b',
    'x.y',
  ];
  const ends = [
    '',
    '3',
    '-3.11',
    'v2b',
    '-static',
    '5.36-x86_64-linux-gnu',
    '3-dbg',
    '.',
    '-',
    'x',
    '\n',
    '3.',
  ];
  const starts = [
    'sh',
    'ash',
    'bash',
    'dash',
    'bdash',
    'genv',
    'env',
    'g',
    'r',
    '',
    'a',
    'ab',
    'abb',
    'aab',
    'b',
    'xzy',
  ];
  const others = ['ts-node', 'ts-node-esm', 'vim.tiny', 'vim.', 'im-convert', 'convert', 'rconvert'];

  it.each(patterns)('match as the regular expression %s with a version and a build does', (pattern) => {
    const version = '(?:-?v?\\d+(?:\\.\\d+)*[a-z]?)?';
    const build = '(?:-(?:dbg|static|minimal|\\w+-linux-\\w+))?';
    const whole = new RegExp(`^(?:zsh|${pattern})${version}${build}$`);
    const names = named(`zsh ${pattern}`);
    const known = [...starts, ...others].flatMap((start) => ends.map((end) => start + end));
    expect(known.filter((name) => names.test(name))).toEqual(known.filter((name) => whole.test(name)));
    const name = fc.string({ unit: fc.constantFrom(...'abdehgrsxyz.-_3v\n') });
    fc.assert(fc.property(name, (text) => names.test(text) === whole.test(text)));
  });

  const written = {
    pdflatex: 'e?(?:pdf|xe|lua)?(?:la)?tex|luahbtex|dviluatex',
    mogrify: '(?:im-)?(?:convert|magick|mogrify|identify|composite|montage)',
    gcc: '(?:[\\w.-]+-)?(?:gcc|g\\+\\+|cc|c\\+\\+|clang|clang\\+\\+|gfortran|cpp)',
  };
  const pieces = ['', 'e', 'im-', 'x86_64-linux-gnu-', '-'].flatMap((before) =>
    ['', 'pdf', 'xe', 'lua', 'luahb', 'dvilua', 'clang', 'g', 'c', 'gf'].flatMap((kind) =>
      ['', 'la', 'cc', '++', 'ortran', 'cpp', 'convert', 'mogrify', 'montage'].flatMap((rest) =>
        ['', 'tex'].map((end) => `${before}${kind}${rest}${end}`),
      ),
    ),
  );

  it.each(Object.entries(written))('of which %s is one are those of one pattern', (one, pattern) => {
    const tool = tools.find(({ names }) => names.test(one));
    const whole = new RegExp(
      `^(?:${pattern})(?:-?v?\\d+(?:\\.\\d+)*[a-z]?)?(?:-(?:dbg|static|minimal|\\w+-linux-\\w+))?$`,
    );
    const known = pieces.flatMap((piece) => ends.map((end) => piece + end));
    expect(known.filter((name) => whole.test(name)).length).toBeGreaterThan(30);
    expect(known.filter((name) => tool?.names.test(name))).toEqual(known.filter((name) => whole.test(name)));
  });
});
