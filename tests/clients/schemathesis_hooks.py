"""What keeps generated requests cheap, and makes more of them meaningful.

Few tokens, few answers, and the model that is served. Of fields that go together, one is rarely generated with the other, so what is
missing is added. Nothing that is wrong is put right: those requests are to be refused.
"""

import os

import schemathesis

TOKENS_MAX = 4
ANSWERS_MAX = 2
LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@schemathesis.hook
def before_call(context, case, kwargs):
    path = case.operation.path
    body = case.body
    if not isinstance(body, dict) or not path.endswith(("completions", "/responses", "/messages", "/count_tokens")):
        return
    for name, most in [*((name, TOKENS_MAX) for name in LENGTHS), ("n", ANSWERS_MAX)]:
        if is_number(body.get(name)) and body[name] > most:
            body[name] = most
    # Anthropic's must say it, so there its absence is a fault to be found.
    if "messages" not in path and all(body.get(name) is None for name in LENGTHS):
        body["max_output_tokens" if path.endswith("/responses") else "max_tokens"] = TOKENS_MAX
    if isinstance(body.get("model"), str):
        body["model"] = os.environ["SHOAL_MODEL"]
    if (body.get("stream_options") is not None or body.get("return_progress") is True) and body.get("stream") in (None, False):
        body["stream"] = True
    if path.endswith("/chat/completions") and is_number(body.get("top_logprobs")) and body.get("logprobs") in (None, False):
        body["logprobs"] = True
    for name in ("top_p", "repeat_penalty", "repetition_penalty"):
        # Above 0 by less than the server's numbers can tell from 0.
        if is_number(body.get(name)) and 0 < body[name] < 1e-30:
            body[name] = 1
    if is_number(body.get("repeat_penalty")) and is_number(body.get("repetition_penalty")):
        # Two names of one number; of the two, one that is wrong stays.
        del body["repetition_penalty" if 0 < body["repetition_penalty"] <= 100 else "repeat_penalty"]
    offer_what_is_chosen(path, body)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def offer_what_is_chosen(path, body):
    """Adds the function that must be called to those there are."""
    choice, tools = body.get("tool_choice"), body.get("tools")
    tools = [] if tools is None else tools
    if not isinstance(tools, list):
        return
    is_nested = path.endswith("/chat/completions")
    if choice == "required" or (isinstance(choice, dict) and choice.get("type") == "any"):
        name = "any"
    else:
        holder = choice.get("function") if is_nested and isinstance(choice, dict) else choice
        name = holder.get("name") if isinstance(holder, dict) else None
    functions = [tool.get("function", tool) if is_nested else tool for tool in tools if isinstance(tool, dict)]
    if not isinstance(name, str) or any(isinstance(each, dict) and each.get("name") == name for each in functions):
        return
    body["tools"] = [{"function": {"name": name}} if is_nested else {"name": name}, *tools]
