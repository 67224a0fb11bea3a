import { testCommandLines } from '@csc-fleet/test-kit/command-lines';

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
`;

const notInline = `
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
`;

testCommandLines({
  inline,
  notInline,
  onlyPiped,
  notPiped: /^(?:R CMD|gdb|python3 -V|node --test|perl -c)/,
});
