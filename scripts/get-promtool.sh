#!/usr/bin/env bash
# Prints where promtool is, which checks the alert rules in deploy/. Where there is none, it is taken out of Debian's package
# `prometheus`, which is not installed: no daemon, no user and no file outside of out/ come of it.
set -euo pipefail
cd "$(dirname "$0")/.."

if command -v promtool; then exit 0; fi
tool=out/promtool/usr/bin/promtool
if [ ! -x "$tool" ]; then
  command -v apt-get >/dev/null || { echo "promtool is missing: install Prometheus" >&2; exit 1; }
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  # The user _apt may then write there too; without, apt-get says that it could not lower its rights.
  chmod 777 "$scratch"
  echo "setup: fetching promtool" >&2
  (cd "$scratch" && { apt-get download -q prometheus >/dev/null 2>&1 \
    || { apt-get update -q >/dev/null && apt-get download -q prometheus >/dev/null; }; })
  dpkg-deb --fsys-tarfile "$scratch"/prometheus_*.deb | tar -x -C "$scratch" ./usr/bin/promtool
  mkdir -p out/promtool/usr/bin
  mv "$scratch/usr/bin/promtool" "$tool"
fi
echo "$PWD/$tool"
