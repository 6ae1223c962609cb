#!/usr/bin/env bash
# Runs every client against servers of its own: run.sh BINARY [MODEL]
#
# Of what succeeds only the closing line is shown, of what fails everything; then the status is not zero. What is installed lies in a
# temporary folder and goes with it; it comes from where pip and npm are told to look.
set -uo pipefail

usage="usage: run.sh BINARY [MODEL]"
binary=$(realpath -e -- "${1:?$usage}") || exit 2
model=${2:-minnow}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
openapi=$here/../../crates/server/openapi.json
scratch=$(mktemp -d)
servers=()
failed=0

# Long enough for a program without optimizations on a machine that does other things as well; nothing is measured by them.
install_s=600
clients_s=600
# A model from the catalogue is fetched first, if it is not there.
start_s=900

finish() {
  for server in "${servers[@]}"; do
    kill "$server" 2>/dev/null || continue
    # It lets answers end; one that takes too long is not waited for.
    for _ in $(seq 50); do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$server" 2>/dev/null
    wait "$server" 2>/dev/null
  done
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() {
  printf '%s\n' "$1" >&2
  exit 1
}

# Runs what follows for at most $1 seconds; shows the line that matches $2 of what it said, or all if it fails.
closing() {
  local limit_s=$1 line=$2 said status
  shift 2
  said=$(timeout --kill-after=10 "$limit_s" "$@" 2>&1)
  status=$?
  if [ $status -eq 0 ]; then
    [ -z "$line" ] || grep -E "$line" <<<"$said" | tail -n 1
  else
    printf '%s\n' "$said" >&2
    [ $status -ne 124 ] || echo "it was stopped after $limit_s seconds: $*" >&2
  fi
  return $status
}

# Starts a server whose log is $1, with the options that follow; sets `address` when it answers.
start() {
  local log=$scratch/$1.log until_s=$((SECONDS + start_s))
  shift
  # What is asked at random must not reach this machine's own models, nor a hub.
  SHOAL_CACHE=$scratch/cache HF_ENDPOINT=http://127.0.0.1:1 "$binary" serve "$model" --port 0 "$@" >"$log" 2>&1 &
  servers+=($!)
  address=
  while [ $SECONDS -lt $until_s ]; do
    kill -0 $! 2>/dev/null || break
    address=$(grep -o 'http://127.0.0.1:[0-9]*' "$log" | head -n 1)
    # Of all that is served, this asks for no key.
    [ -n "$address" ] && python3 -c "import urllib.request as r; r.urlopen('$address/health', timeout=10)" 2>/dev/null && return
    sleep 0.1
  done
  fail "$(cat "$log")
there is no server after $start_s seconds, or it has ended"
}

python3 -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' || fail "Python is missing, older than 3.10, or without venv"
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || fail "Node is missing, or older than 20"

# A server on this machine is asked without a proxy, wherever packages come from.
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1 TMPDIR=$scratch
# Keys and addresses that somebody has set are for another server, and the SDKs would take them.
unset SHOAL_API_KEY "${!OPENAI_@}" "${!ANTHROPIC_@}" "${!PYTEST_@}" "${!SCHEMATHESIS_@}"

export SHOAL_MODEL=$model SHOAL_ALIAS=another-name SHOAL_KEY=sesame SHOAL_OTHER_KEY=poppy PYTHONDONTWRITEBYTECODE=1
start open --alias "$SHOAL_ALIAS"
export SHOAL_URL=$address
# Two places, so that a third request is one too many.
printf '%s\n' "$SHOAL_KEY" "$SHOAL_OTHER_KEY" >"$scratch/keys"
start key --api-key-file "$scratch/keys" --parallel 1 --queue 1
export SHOAL_KEY_URL=$address

venv=$scratch/venv/bin
closing $install_s "" python3 -m venv "$scratch/venv" || exit 1
closing $install_s "" "$venv/pip" install --quiet --disable-pip-version-check -r "$here/python/requirements.txt" || exit 1
closing $clients_s "passed" env -C "$here/python" "$venv/pytest" || failed=1

mkdir "$scratch/node"
cp "$here"/node/*.js* "$scratch/node/"
# The SDK names newer versions of Node than it needs.
closing $install_s "" npm --prefix "$scratch/node" ci --engine-strict=false --loglevel=error --no-audit --no-fund || exit 1
closing $clients_s "pass [0-9]+" env -C "$scratch/node" npm test --silent || failed=1

# The same for every model, so the one that answers soonest is enough.
if [ "$model" = minnow ]; then
  export PYTHONPATH=$here SCHEMATHESIS_HOOKS=schemathesis_hooks
  closing $clients_s "No issues found" env -C "$scratch" "$venv/schemathesis" run "$openapi" --url "$SHOAL_URL" \
    --phases examples,coverage,fuzzing --max-examples 30 --workers 1 --generation-deterministic --continue-on-failure \
    --request-timeout 60 --warnings off --checks "$(paste -sd, "$here/schemathesis_checks.txt")" || failed=1
fi

# Whatever was asked, both still answer.
for server in "${servers[@]}"; do
  kill -0 "$server" 2>/dev/null || { cat "$scratch"/*.log >&2; echo "a server has ended" >&2; failed=1; }
done

exit $failed
