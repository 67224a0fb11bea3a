#!/usr/bin/env bash
# fuzz-job.sh SECONDS [SEED]: what csc-launcher reads of a job, by libFuzzer, from a few that are right. Without clang and its
# runtime, and as root on Debian, they are installed.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1 seed=${2:-0}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build() {
  clang -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    tests/kit/sandbox/fuzz-job.c packages/sandbox/native/{job,state}.c -o "$work/fuzz-job"
}
if ! build 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "fuzz: installing clang" >&2
    packages=(--no-install-recommends clang libclang-rt-dev)
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${packages[@]}" >/dev/null 2>&1 \
      || { apt-get update -q >/dev/null; DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${packages[@]}" >/dev/null; }
  fi
  build
fi
mkdir "$work/corpus"
good() { printf '%s\0' "$@" >"$work/corpus/$1-$RANDOM"; }
good '3>0,4>1,5>2' '7,8' own 1000 1000 022 core=0,nofile=64 1 PATH=/ /usr/bin/bwrap --args 3
good '3>0' - - - - 077 - 0 /bin/true
good '1>2,2>1' 9 own - - 0 as=1,cpu=2,data=3,fsize=4,nproc=5,stack=6,rtprio=0 2 A= B=C /bin/x ''
printf '%s\n' '"own"' '"core="' '"nofile="' '"nproc="' '"memlock="' '","' '">"' '"="' '"-"' '"\x00"' '"4294967295"' >"$work/words"
mkdir -p out
# An input that breaks it is kept in out/.
if ! "$work/fuzz-job" -max_total_time="$seconds" -seed="$seed" -dict="$work/words" -max_len=65536 -artifact_prefix=out/fuzz-job- \
  -print_final_stats=1 -verbosity=0 "$work/corpus" >"$work/log" 2>&1; then
  cat "$work/log"
  exit 1
fi
awk '/number_of_executed_units/ {runs=$2} /new_units_added/ {units=$2} END {print "csc-launcher: " runs " texts of jobs, " units " of them on new paths"}' "$work/log"
