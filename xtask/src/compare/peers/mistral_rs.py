"""Times a GGUF file in mistral.rs through its Python package, mistralrs.

usage: python mistral_rs.py MODEL.gguf THREADS TEST... -- [KEY=VALUE...]

A test is pp128 (a prompt of 128 tokens) or tg32 (32 tokens, one by one). The package takes text and no tokens, so a
prompt is words cut to the length in tokens as its own tokenizer counts them, and speeds are those that it reports.
It takes no number of threads either: it starts as many as there are processors that it may use, which is what pinning
bounds. One short request runs uncounted. One line of JSON for the version, then one for each test.

KEY is an argument of mistralrs.Runner, or one of mistralrs.Which.GGUF after `gguf.`, as in gguf.tok_model_id=DIR.
"""

import importlib.metadata
import json
import os
import random
import sys

import mistralrs

WORDS = "the sea of a ship and light over stone wind was long before they came to see what water had left here".split()
SEED = 2026


def prompt_of(runner, count):
    """A text of `count` tokens: words are added until there are enough, then letters are taken away."""
    source, text = random.Random(SEED + count), ""
    length = lambda text: len(runner.tokenize_text(text, True, None))
    while length(text) < count:
        text += " " + source.choice(WORDS)
    while length(text) > count:
        text = text[:-1]
    return text


def ask(runner, prompt, tokens):
    """What the package reports of one request. A decoded token is one after the first, which is the prompt's."""
    request = mistralrs.CompletionRequest(
        prompt=prompt, model="default", max_tokens=tokens, ignore_eos=True, temperature=0.0
    )
    return runner.send_completion_request(request).usage


def main(path, _threads, *rest):
    split = rest.index("--")
    tests, settings = rest[:split], [setting.partition("=") for setting in rest[split + 1 :]]
    value = lambda text: int(text) if text.lstrip("-").isdigit() else text
    gguf = {key[5:]: value(text) for key, _, text in settings if key.startswith("gguf.")}
    others = {key: value(text) for key, _, text in settings if not key.startswith("gguf.")}
    folder, name = os.path.split(os.path.abspath(path))
    which = mistralrs.Which.GGUF(quantized_model_id=folder, quantized_filename=name, **gguf)
    # Without a prefix cache every prompt is read as a whole.
    runner = mistralrs.Runner(which=which, **{"prefix_cache_n": 0, "token_source": "none", **others})
    print(json.dumps({"version": importlib.metadata.version("mistralrs")}), flush=True)
    ask(runner, prompt_of(runner, 16), 2)
    for test in tests:
        count = int(test[2:])
        if test.startswith("pp"):
            usage = ask(runner, prompt_of(runner, count), 1)
            if usage.prompt_tokens != count:
                raise SystemExit(f"{test}: expected a prompt of {count} tokens, found {usage.prompt_tokens}")
            speed = count / usage.total_prompt_time_sec
        else:
            usage = ask(runner, prompt_of(runner, 1), count + 1)
            # The package divides by the time of all steps but the prompt's.
            speed = count / usage.total_completion_time_sec
        print(json.dumps({"test": test, "tokens_per_s": speed}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
