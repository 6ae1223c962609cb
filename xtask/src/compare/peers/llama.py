"""Times a GGUF file in llama.cpp or ik_llama.cpp through the Python package of either: llama_cpp, ik_llama_cpp.

usage: python llama.py MODULE MODEL.gguf THREADS TEST... -- [KEY=VALUE...]

A test is pp128 (a prompt of 128 tokens, in batches) or tg32 (32 tokens, one by one). Each runs once uncounted and once
timed, from an empty cache, as in `shoal bench`. One line of JSON for the version, then one for each test.

KEY is a field of llama_model_params or llama_context_params as the package spells it, or one of ALIASES, the flags of
the engines' own programs. What is not set keeps the engine's default. Both packages mirror the same C interface and
differ in a few names, which are asked for where they are used.
"""

import importlib
import importlib.metadata
import json
import random
import sys
import time

# Flags of the engines' own programs, and the fields behind them.
ALIASES = {
    "fa": ("flash_attn", "flash_attn_type"),
    "fmoe": ("fused_moe_up_gate",),
    "mla": ("mla_attn",),
    "mmap": ("use_mmap",),
    "repack": ("use_extra_bufts",),
    "rtr": ("repack_tensors",),
    "ub": ("n_ubatch",),
}
SEED = 2026


def api(module):
    """The module of low-level functions."""
    inner = {"llama_cpp": "llama_cpp.llama_cpp", "ik_llama_cpp": "ik_llama_cpp._ctypes_api"}
    if module not in inner:
        raise SystemExit(f"module `{module}`: expected one of {', '.join(inner)}")
    return importlib.import_module(inner[module])


def apply(settings, model_params, context_params):
    """Sets every KEY=VALUE on whichever of the two has such a field, both if both do."""
    for setting in settings:
        key, _, value = setting.partition("=")
        found = False
        for params in (model_params, context_params):
            fields = {name for name, *_ in params._fields_}
            for name in ALIASES.get(key, (key,)):
                if name in fields:
                    number = float(value) if "." in value else int(value)
                    kind = type(getattr(params, name))
                    setattr(params, name, kind(number))
                    found = True
        if not found:
            raise SystemExit(f"setting `{setting}`: this package has no such field")
        # Repacked tensors are written to, so they cannot be pages of the file.
        if key == "rtr" and number:
            model_params.use_mmap = False


class Session:
    """A model, a context of 512 tokens and a batch to fill."""

    def __init__(self, c, path, threads, settings):
        self.c = c
        c.llama_backend_init()
        model_params, context_params = c.llama_model_default_params(), c.llama_context_default_params()
        model_params.n_gpu_layers = 0
        context_params.n_ctx = context_params.n_batch = context_params.n_ubatch = 512
        context_params.n_threads = context_params.n_threads_batch = threads
        apply(settings, model_params, context_params)
        self.model = c.llama_model_load_from_file(path.encode(), model_params)
        if not self.model:
            raise SystemExit("the engine does not load this file")
        self.context = c.llama_init_from_model(self.model, context_params)
        if not self.context:
            raise SystemExit("the engine makes no context for this model")
        self.vocab_size = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self.model))
        self.batch = c.llama_batch_init(512, 0, 1)

    def clear(self):
        if hasattr(self.c, "llama_memory_clear"):
            self.c.llama_memory_clear(self.c.llama_get_memory(self.context), True)
        else:
            self.c.llama_kv_cache_clear(self.context)

    def push(self, tokens, first):
        """One step over `tokens`, the first of them at position `first`; logits for the last."""
        batch = self.batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i] = token, first + i
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
            batch.logits[i] = i + 1 == len(tokens)
        status = self.c.llama_decode(self.context, batch)
        if status != 0:
            raise SystemExit(f"llama_decode of {len(tokens)} tokens: expected 0, found {status}")

    def seconds(self, tokens, step):
        self.clear()
        start = time.perf_counter()
        for first in range(0, len(tokens), step):
            self.push(tokens[first : first + step], first)
        if hasattr(self.c, "llama_synchronize"):
            self.c.llama_synchronize(self.context)
        return time.perf_counter() - start


def main(module, path, threads, *rest):
    split = rest.index("--")
    tests, settings = rest[:split], rest[split + 1 :]
    session = Session(api(module), path, int(threads), settings)
    print(json.dumps({"version": importlib.metadata.version(module.replace("_", "-") + "-python")}), flush=True)
    for test in tests:
        count = int(test[2:])
        step = {"pp": 512, "tg": 1}[test[:2]]
        source = random.Random(SEED)
        tokens = [source.randrange(session.vocab_size) for _ in range(count)]
        session.seconds(tokens, step)
        speed = count / session.seconds(tokens, step)
        print(json.dumps({"test": test, "tokens_per_s": speed}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
