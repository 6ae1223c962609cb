#!/usr/bin/env bash
# Drives the page of a server of its own: run.sh BINARY
#
# Installs Debian's Chromium if there is none, so it needs root or sudo then. The status is that of the tests.
set -uo pipefail

binary=$(realpath -e -- "${1:?usage: run.sh BINARY}") || exit 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
server=
# Long enough for a program without optimizations on a machine that does other things as well.
start_s=120
install_s=900
tests_s=900

finish() {
  if [ -n "$server" ] && kill "$server" 2>/dev/null; then
    # It lets answers end; one that takes too long is not waited for.
    for _ in $(seq 50); do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$server" 2>/dev/null
    wait "$server" 2>/dev/null
  fi
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

if [ ! -x /usr/bin/chromium ]; then
  root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  "${root[@]}" timeout $install_s apt-get update -qq || exit 1
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive timeout $install_s apt-get install -y -qq chromium >"$scratch/apt.log" 2>&1 ||
    { cat "$scratch/apt.log" >&2; exit 1; }
fi

timeout $install_s npm --prefix "$here" ci --loglevel=error --no-audit --no-fund || exit 1

"$binary" serve minnow --port 0 >"$scratch/server.log" 2>&1 &
server=$!
# The server is on this machine, so no proxy is asked.
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1 SHOAL_URL= TMPDIR=$scratch
until_s=$((SECONDS + start_s))
until [ -n "$SHOAL_URL" ] && node -e 'fetch(process.argv[1]).then((a) => process.exit(a.ok ? 0 : 1), () => process.exit(1))' "$SHOAL_URL/ready"; do
  if ! kill -0 "$server" 2>/dev/null || [ $SECONDS -ge $until_s ]; then
    cat "$scratch/server.log" >&2
    echo "there is no server after $start_s seconds, or it has ended" >&2
    exit 1
  fi
  sleep 0.1
  SHOAL_URL=$(grep -o 'http://127.0.0.1:[0-9]*' "$scratch/server.log" | head -n 1)
done

timeout --kill-after=10 $tests_s npm --prefix "$here" test
