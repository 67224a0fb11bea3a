#!/usr/bin/env bash
# Compiles packages/sandbox/native/*.c for this machine, and the module native/confine, where one of them is missing or
# older than they are. Without a C compiler nothing is made: the executor starts jobs by slower ways that do the same, and
# its proxies keep one right more (docs/launcher.md).
set -euo pipefail
cd "$(dirname "$0")/../packages/sandbox"
command -v cc >/dev/null || exit 0
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) arch=x64 ;;
  Linux-aarch64) arch=arm64 ;;
  *) exit 0 ;;
esac
sources=(native/*.c) program=bin/csc-launcher-$arch module=bin/csc-confine-$arch.node
[ -e "$module" ] && [ -z "$(find native -newer "$program" 2>/dev/null || echo none)" ] && exit 0
mkdir -p bin
chmod 755 bin
made=$(mktemp "bin/.csc-launcher-XXXXXX")
trap 'rm -f "$made"' EXIT
flags=(-std=c11 -O2 -Wall -Wextra -Wno-unused-result -D_FORTIFY_SOURCE=2 -fstack-protector-strong
  -Wl,-z,relro,-z,now,-z,noexecstack -s)
# What not every compiler and machine has.
for flag in -fstack-clash-protection -ftrivial-auto-var-init=zero -fcf-protection=full -mbranch-protection=standard; do
  cc -Werror "$flag" -x c -c -o "$made" - <<<'int one = 1;' 2>/dev/null && flags+=("$flag")
done
# Without a libc for it (Fedora: glibc-static) one that is linked when it starts does the same, a little later.
cc "${flags[@]}" -static-pie "${sources[@]}" -o "$made" 2>/dev/null || cc "${flags[@]}" -fPIE -pie "${sources[@]}" -o "$made"
chmod 755 "$made"
mv "$made" "$program"
# Node's own libc is the one that it uses.
cc -std=c11 -O2 -Wall -Wextra -fPIC -shared -nostdlib -fvisibility=hidden -fno-stack-protector \
  -Wl,-z,relro,-z,now,-z,noexecstack -s native/confine/confine.c -o "$made"
chmod 755 "$made"
mv "$made" "$module"
