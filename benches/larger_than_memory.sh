#!/usr/bin/env bash
# Decoding of a model larger than memory, shoal and llama.cpp in alternation: under a limit of memory that the kernel enforces (a control
# group of version 1; needs root), with nothing in the page cache before each run.
#
#   benches/larger_than_memory.sh MODEL.gguf LLAMA_BENCH [GIBIBYTES...] > record.json
#
# One JSON object a line: which program, the limit, what it printed of itself (`shoal bench --json`, `llama-bench -o json`), and the
# peak that the group counted. shoal decodes 64 tokens once (cold) and then 64 others; llama-bench decodes 64 once.
set -euo pipefail
model=$1 llama_bench=$2
shift 2
limits=("${@:-2 4 8}")
shoal=$(dirname "${BASH_SOURCE[0]}")/../target/release/shoal

# limited GIBIBYTES NAME COMMAND...
limited() {
    local limit=$1 name=$2 group=/sys/fs/cgroup/memory/shoal-bench-$$
    shift 2
    mkdir "$group"
    echo $((limit << 30)) > "$group/memory.limit_in_bytes"
    sync
    echo 3 > /proc/sys/vm/drop_caches
    local out status=0
    out=$(bash -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$group" "$@" 2>/dev/null | tr -d '\n' | sed "s|$(dirname "$model")/||g") || status=$?
    printf '{"program":"%s","limit_gib":%s,"status":%s,"peak_bytes":%s,"output":%s}\n' \
        "$name" "$limit" "$status" "$(cat "$group/memory.max_usage_in_bytes")" "${out:-null}"
    rmdir "$group"
}

for limit in ${limits[*]}; do
    for _ in 1 2 3; do
        limited "$limit" shoal "$shoal" bench "$model" --json --runs 1 -p 0 -n 64 --memory "${limit}GiB"
        limited "$limit" llama.cpp "$llama_bench" -m "$model" -o json -r 1 --no-warmup -p 0 -n 64 -t 2 --repack 0 -lm mmap
    done
done
