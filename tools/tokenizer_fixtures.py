#!/usr/bin/env python3
"""Makes the tokenizer fixtures in tests/golden/tokenizers: a cut vocabulary and strings with their token ids.

A vocabulary is 1 to 8 MB; the strings of a test touch a small part of it. A merge can act on a string only if its
result is a substring of one of the string's words, and so can a token. So the fixture keeps
  * every token and merge whose text is a substring of a word of the test strings (a superset of what acts),
  * the letters of all bytes, and every token that is not normal text unless it is a numbered filler,
under their own ids and in their own order: the ids of the test strings are exactly those of the whole vocabulary.
`--full` keeps everything instead, for a check outside the repository.

Expected ids: the peer engine's vectors (.inp/.out) or a list of {text, ids} where given; further strings, made here,
get their ids from the Python package `tokenizers` with the original splitting rules on the whole vocabulary. That
package must also agree with every given vector, or nothing is written.

Needs: pip install gguf tokenizers. Usage: see tests/golden/tokenizers/README.md.
"""
import argparse
import json
import random
import re
import struct

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

SEPARATOR = "\n__ggml_vocab_test__\n"
# The letters of deepseek-llm, as its tokenizer.json lists them.
LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5"
    "\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba"
    "\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45"
    "\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe"
    "\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102"
    "\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139"
    "\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3"
    "\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06"
    "\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df"
    "\U0001e900-\U0001e943"
)


def isolated(pattern):
    return Split(Regex(pattern), "isolated")


def tail():
    return ByteLevel(add_prefix_space=False, use_regex=False)


def contraction_rule(digits):
    return (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


V3 = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
]
PRE = {
    "deepseek-llm": lambda: Sequence(
        [isolated(p) for p in [r"[\r\n]", rf"\s?[{LETTERS}]+", "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$",
                               "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}+"]] + [tail()]),
    "deepseek-coder": lambda: Sequence(
        [isolated(p) for p in [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"]]
        + [Digits(individual_digits=True), tail()]),
    "deepseek-v3": lambda: Sequence([isolated(p) for p in V3] + [tail()]),
    "qwen2": lambda: Sequence([isolated(contraction_rule(r"\p{N}")), tail()]),
    "llama-bpe": lambda: Sequence([isolated(contraction_rule(r"\p{N}{1,3}")), tail()]),
    "smollm": lambda: Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]),
    "gpt-2": lambda: ByteLevel(add_prefix_space=False, use_regex=True),
}
PRE["deepseek-r1-qwen"] = PRE["qwen2"]


def read_gguf_header(path):
    """The key-value pairs of a GGUF file, which may be cut short after its header."""
    data = open(path, "rb").read(64 << 20)
    at = 24
    assert data[:4] == b"GGUF"
    (count,) = struct.unpack_from("<Q", data, 16)
    scalar = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}

    def take(kind):
        nonlocal at
        if kind == 8:
            (length,) = struct.unpack_from("<Q", data, at)
            at += 8 + length
            return data[at - length:at].decode()
        if kind == 9:
            inner, length = struct.unpack_from("<IQ", data, at)
            at += 12
            return [take(inner) for _ in range(length)]
        (value,) = struct.unpack_from(scalar[kind], data, at)
        at += struct.calcsize(scalar[kind])
        return value

    pairs = {}
    for _ in range(count):
        key = take(8)
        (kind,) = struct.unpack_from("<I", data, at)
        at += 4
        pairs[key] = take(kind)
    return pairs


def spec_from_gguf(path):
    pairs = read_gguf_header(path)
    get = lambda key: pairs.get("tokenizer.ggml." + key)
    return {
        "pre": get("pre"), "tokens": get("tokens"), "types": get("token_type"), "merges": get("merges"),
        "bos": get("bos_token_id"), "eos": get("eos_token_id"), "add_bos": get("add_bos_token"),
        "chat_template": pairs.get("tokenizer.chat_template"),
    }


def spec_from_json(path):
    whole = json.load(open(path))
    vocab = dict(whole["model"]["vocab"])
    added = {token["content"]: token for token in whole["added_tokens"]}
    vocab.update({text: token["id"] for text, token in added.items()})
    count = max(vocab.values()) + 1
    tokens, types = [f"[unused{i}]" for i in range(count)], [5] * count
    for text, i in vocab.items():
        tokens[i] = text
        types[i] = (3 if added[text]["special"] else 4) if text in added else 1
    merges = [m if isinstance(m, str) else " ".join(m) for m in whole["model"]["merges"]]
    return {"pre": None, "tokens": tokens, "types": types, "merges": merges, "bos": None, "eos": None,
            "add_bos": None, "chat_template": None}


def is_markup(text):
    return any(c in "<>|｜[]{}" for c in text)


def oracle(spec, pre):
    """The Python package's tokenizer for `spec`; plain text only, as our `encode`."""
    normal = {t: i for i, t in reversed(list(enumerate(spec["tokens"]))) if spec["types"][i] not in (3, 4)}
    merges = [tuple(m.split(" ")) for m in spec["merges"]]
    tokenizer = Tokenizer(models.BPE(normal, merges, ignore_merges=pre == "llama-bpe"))
    tokenizer.pre_tokenizer = PRE[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    added = {t: i for i, t in enumerate(spec["tokens"]) if spec["types"][i] == 4 and not is_markup(t)}
    # The package numbers added tokens itself, so its ids are translated back by text.
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in added])
    base = tokenizer.get_vocab_size(with_added_tokens=False)

    def encode(text):
        found = tokenizer.encode(text, add_special_tokens=False)
        return [added[t] if t in added and (i >= base or t not in normal) else normal[t]
                for t, i in zip(found.tokens, found.ids)]

    return encode, tokenizer


EXTRA = [
    "fn main() {\n    println!(\"{}\", 1_000_000 / 3);\n}\n",
    "def f(x):\n\treturn x**2  # square\n\n\nprint(f(12345678))",
    "The year 1984, 3.14159 and 0x7fff; phone +49 (0)30 1234567.",
    "I'd say we'll see; THEY'VE gone, it'S fine, y'all'd've.",
    "人工智能正在改变世界。深度求索2025年发布了模型，参数量6710亿。",
    "東京タワーは333メートルです。カタカナとひらがな、混ざった文章。",
    "안녕하세요, 세계! 오늘은 2024년 5월 1일입니다.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. ½ ¾ Ⅷ",
    "Ça déjà vu naïve façade, Übergrößenträger, smörgåsbord, łódź, ñandú.",
    "مرحبا بالعالم ١٢٣٤٥ — שלום עולם",
    "नमस्ते दुनिया १२३४५, สวัสดีชาวโลก ๑๒๓",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈 emoji 😀😀😀 e\u0301 a\u0308\u0323",
    "\u00a0nbsp\u2003em\u3000ideographic\u200bzero\ufeffbom",
    "   leading, trailing   \n \n  \t\r\n\r\nmixed \t tabs\t\t",
    "<｜User｜>hi<｜Assistant｜><think></think><|im_end|><|EOT|>[PAD100015]",
    "ü ö ø ý À Á ÷ õ ú ù û þ ÿ Führer naïve Øresund",
    "a" * 70 + " " * 33 + "=" * 40 + "\n" * 9 + "#" * 17,
    "x² + y³ ≤ ∞ ∑∏∫ √2 ≈ 1.414 → ⇒ «quoted» “curly” ‘single’ … – —",
    "https://example.org/path?q=a%20b&c=d#frag user@example.org C:\\dir\\file.txt",
    "{\"key\": [1, 22, 333, 4444, 55555], \"nested\": {\"a\": null, \"b\": true}}",
    "𝕳𝖊𝖑𝖑𝖔 𐐷𐑌 𞤀𞤁 Ａｂｃ１２３ ﬁ ﬂ ㋿ 한글㈜",
]


def random_cases(count=60):
    """Strings from a seeded mix of scripts, spaces, digits and signs."""
    rng = random.Random(20240117)
    pools = ["abcdefghij", "ABCXYZ", "0123456789", " ", " \t\n\r", ".,;:!?'\"-_()[]{}<>|/\\@#$%^&*+=~`", "éüßñøåÆŒ",
             "дежзик", "的一是了我", "あいうアイウ", "가나다", "αβγ", "अआइ\u0940", "٠١٢", "½²Ⅳ", "\u0301\u0308", "🙂🚀", "\u00a0\u2003\u3000"]
    return ["".join("".join(rng.choice(pool) for _ in range(rng.randint(1, 5)))
                    for pool in rng.choices(pools, k=rng.randint(1, 12))) for _ in range(count)]


def byte_letters():
    keep = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    rest = [b for b in range(256) if b not in keep]
    return [chr(b) for b in keep] + [chr(256 + n) for n in range(len(rest))]


def cut(spec, tokenizer, texts):
    """The indexes of tokens and merges that can act on `texts`."""
    parts = set()
    for text in texts:
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text):
            for start in range(len(word)):
                for end in range(start + 1, min(len(word), start + 128) + 1):
                    parts.add(word[start:end])
    parts.update(byte_letters())
    filler = re.compile(r"\[PAD\d+\]|\[unused\d+\]|<｜place▁holder▁no▁\d+｜>|<\|reserved_special_token_\d+\|>")
    tokens = [i for i, t in enumerate(spec["tokens"])
              if (t in parts if spec["types"][i] not in (3, 4) else not filler.fullmatch(t))]
    merges = [m for m in spec["merges"] if m.replace(" ", "") in parts]
    return tokens, merges


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    source = args.add_mutually_exclusive_group(required=True)
    source.add_argument("--gguf")
    source.add_argument("--tokenizer-json")
    args.add_argument("--pre", help="pre-tokenizer name, if the file has none or another is wanted")
    args.add_argument("--inp")
    args.add_argument("--out")
    args.add_argument("--vectors", help="JSON list of {text, ids}")
    args.add_argument("--full", action="store_true")
    args.add_argument("--dest", required=True)
    args = args.parse_args()

    spec = spec_from_gguf(args.gguf) if args.gguf else spec_from_json(args.tokenizer_json)
    pre = args.pre or spec["pre"]
    encode, tokenizer = oracle(spec, pre)

    given = []
    if args.inp:
        texts = open(args.inp, newline="").read().split(SEPARATOR)
        rows = open(args.out).read().split("\n")[:len(texts)]
        given = [(text, [int(i) for i in row.split()]) for text, row in zip(texts, rows, strict=True)]
    if args.vectors:
        given += [(case["text"], case["ids"]) for case in json.load(open(args.vectors))]
    wrong = [(text, ids, encode(text)) for text, ids in given if encode(text) != ids]
    for text, ids, found in wrong:
        print(f"{pre}: {text!r}: given {ids}, the package says {found}")
    if wrong:
        raise SystemExit(1)
    made = [(text, encode(text)) for text in EXTRA + random_cases()]

    tokens, merges = (range(len(spec["tokens"])), spec["merges"]) if args.full else cut(
        spec, tokenizer, [text for text, _ in given + made])
    fixture = {
        "pre": pre, "vocab_len": len(spec["tokens"]), "bos": spec["bos"], "eos": spec["eos"],
        "add_bos": spec["add_bos"],
        "tokens": [[i, spec["types"][i], spec["tokens"][i]] for i in tokens], "merges": list(merges),
        "given": [[text, ids] for text, ids in given], "made": [[text, ids] for text, ids in made],
    }
    if args.full:
        fixture["chat_template"] = spec["chat_template"]
    text = json.dumps(fixture, ensure_ascii=False, separators=(",", ":"))
    # One line per kind of thing, so that a diff says what changed.
    text = re.sub(r',"(tokens|merges|given|made)":', r',\n"\1":', text)
    open(args.dest, "w", newline="").write(text + "\n")
    print(f"{args.dest}: {len(fixture['tokens'])} tokens, {len(fixture['merges'])} merges, {len(given)} given and "
          f"{len(made)} made cases, {len(text.encode())} bytes")


if __name__ == "__main__":
    main()
