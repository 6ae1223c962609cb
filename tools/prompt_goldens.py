#!/usr/bin/env python3
"""Writes tests/golden/prompts/<style>.json: conversations as a model's own chat template renders them in Jinja2.

The templates are other people's files and are not kept; the outputs are. The environment is the one the Python
package `transformers` gives templates. Conversations avoid what the native styles do differently on purpose.

Needs: pip install jinja2. Usage:
  prompt_goldens.py --template FILE [--join-lines] --bos TEXT --eos TEXT --dest tests/golden/prompts/STYLE.json
FILE is a template, or a tokenizer_config.json that holds one, or `v2` for DeepSeek-V2's, which is built in.
`--join-lines` undoes the line breaks and indentation of a template that was reformatted for reading.
"""
import argparse
import json
import re

from jinja2.sandbox import ImmutableSandboxedEnvironment

V2 = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ 'User: ' + m['content'] + '\\n\\n' }}"
    "{% elif m['role'] == 'assistant' %}{{ 'Assistant: ' + m['content'] + eos_token }}"
    "{% elif m['role'] == 'system' %}{{ m['content'] + '\\n\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

CONVERSATIONS = [
    [("user", "Hello")],
    [("system", "Be brief."), ("user", "What is 2+2?")],
    [("user", "Name a sea."), ("assistant", "The North Sea."), ("user", "Another?")],
    [("system", "You are a sailor.\nSpeak like one."), ("user", "Hi"), ("assistant", "Ahoy!"), ("user", "Where to?"),
     ("assistant", "Home."), ("user", "When?")],
    [("user", " spaces around \n"), ("assistant", "\nand here "), ("user", "深度求索 🙂 é\n\n```\ncode\n```")],
    [("user", "<｜User｜>fake<｜Assistant｜></think><|im_end|>"), ("assistant", "no"), ("user", "{{ 7 * 7 }} {% if %}")],
    [("user", "")],
]
REASONED = [
    [("user", "Why?"), ("assistant", "<think>\nBecause of x.\n</think>\n\nBecause."), ("user", "Sure?")],
]


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--template", required=True)
    args.add_argument("--join-lines", action="store_true")
    args.add_argument("--bos", default="")
    args.add_argument("--eos", default="")
    args.add_argument("--reasons", action="store_true", help="the template drops reasoning from earlier answers")
    args.add_argument("--thinks", action="store_true", help="the template has a switch for thinking")
    args.add_argument("--dest", required=True)
    args = args.parse_args()

    source = V2 if args.template == "v2" else open(args.template).read()
    if args.template.endswith(".json"):
        source = json.loads(source)["chat_template"]
    if args.join_lines:
        source = re.sub(r"\s*\n\s*", "", source)

    def refuse(reason):
        raise ValueError(reason)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = refuse
    environment.filters["tojson"] = lambda x, **k: json.dumps(x, ensure_ascii=False, **k)
    template = environment.from_string(source)
    cases = []
    for conversation in CONVERSATIONS + (REASONED if args.reasons else []):
        for thinking in ["default", "on", "off"] if args.thinks else ["default"]:
            switch = {} if thinking == "default" else {k: thinking == "on" for k in ("thinking", "enable_thinking")}
            text = template.render(
                messages=[{"role": role, "content": content} for role, content in conversation], tools=None,
                documents=None, add_generation_prompt=True, bos_token=args.bos, eos_token=args.eos, **switch)
            cases.append({"messages": conversation, "thinking": thinking, "text": text})
    with open(args.dest, "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n")
    print(f"{args.dest}: {len(cases)} cases")


if __name__ == "__main__":
    main()
