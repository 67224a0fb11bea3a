#!/usr/bin/env bash
# Compiles packages/sandbox/native/csc-launcher.c for this machine, where its program is missing or older than it. Without
# a C compiler nothing is made, and the executor starts jobs by slower ways that do the same.
set -euo pipefail
cd "$(dirname "$0")/../packages/sandbox"
command -v cc >/dev/null || exit 0
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) arch=x64 ;;
  Linux-aarch64) arch=arm64 ;;
  *) exit 0 ;;
esac
source=native/csc-launcher.c program=bin/csc-launcher-$arch
[ "$program" -nt "$source" ] && exit 0
mkdir -p bin
chmod 755 bin
made=$(mktemp "bin/.csc-launcher-XXXXXX")
trap 'rm -f "$made"' EXIT
flags=(-std=c11 -O2 -Wall -Wextra -Wno-unused-result -D_FORTIFY_SOURCE=2 -fstack-protector-strong
  -Wl,-z,relro,-z,now,-z,noexecstack -s)
# Without a libc for it (Fedora: glibc-static) one that is linked when it starts does the same, a little later.
cc "${flags[@]}" -static-pie "$source" -o "$made" 2>/dev/null || cc "${flags[@]}" -fPIE -pie "$source" -o "$made"
chmod 755 "$made"
mv "$made" "$program"
