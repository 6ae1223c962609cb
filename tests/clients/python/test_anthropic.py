"""Anthropic's SDK for messages."""

import json
from typing import Literal

import anthropic
import pytest
from anthropic.types import Message
from conftest import ESSAY, ESSAY_TOKENS, LONG_NAME, WEATHER, anthropic_client, is_json, joined
from pydantic import BaseModel, ConfigDict

ASK = [{"role": "user", "content": "Tell me about a fish."}]
TOOL = {"name": "weather", "description": "The weather in a city.", "input_schema": WEATHER}
CLOCK = {"name": "clock", "input_schema": {"type": "object", "properties": {}}}
WRITE = {"name": "write", "input_schema": ESSAY}


# The SDK has no name for it, as the newest of Anthropic's models are not to be told; the API has.
COLD = {"extra_body": {"temperature": 0}}


def say(client, model, **fields):
    return client.messages.create(model=model, **{"messages": ASK, "max_tokens": 12, **fields})


def text(message):
    return joined(block.text for block in message.content if block.type == "text")


def test_a_whole_message(ant, model):
    message = say(ant, model, system="Be short.")
    assert message.model == model and text(message)
    assert message.stop_reason in ("max_tokens", "end_turn") and message.stop_sequence is None
    assert 1 <= message.usage.output_tokens <= 12
    assert message.id.startswith("msg_")
    assert message.model_extra["timings"]["predicted_n"] == message.usage.output_tokens - 1


def test_what_was_said_can_be_said_back(ant, model):
    message = say(ant, model)
    turn = {"role": "assistant", "content": message.content}
    assert say(ant, model, messages=[*ASK, turn, {"role": "user", "content": [{"type": "text", "text": "And?"}]}])


def test_a_begun_answer_goes_on(ant, model):
    assert text(say(ant, model, messages=[*ASK, {"role": "assistant", "content": "The fish is"}]))


def test_a_stream_says_what_the_whole_says(ant, model):
    whole = say(ant, model, **COLD)
    with ant.messages.stream(model=model, messages=ASK, max_tokens=12, **COLD) as stream:
        streamed = joined(stream.text_stream)
        final = stream.get_final_message()
    assert streamed == text(final) == text(whole)
    assert final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert total(final.usage) == total(whole.usage)
    Message.model_validate(final.model_dump(exclude={"content": {"__all__": {"parsed_output"}}}))


def total(usage):
    return usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)


def test_the_events_of_a_stream(ant, model):
    events = list(say(ant, model, stream=True))
    kinds = [event.type for event in events if event.type != "ping"]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]
    open_block, count = None, 0
    for event in events:
        if event.type == "content_block_start":
            assert open_block is None and event.index == count
            open_block = event.index
        elif event.type == "content_block_delta":
            assert event.index == open_block
        elif event.type == "content_block_stop":
            assert event.index == open_block
            open_block, count = None, count + 1
    assert open_block is None and count >= 1
    assert events[0].message.content == [] and events[0].message.stop_reason is None
    assert events[-2].model_extra["timings"]["predicted_n"] == events[-2].usage.output_tokens - 1


def test_a_use_of_a_tool_and_its_result(ant, model):
    fields = {"tools": [TOOL, CLOCK], "max_tokens": 200}
    first = say(ant, model, tool_choice={"type": "tool", "name": "weather"}, **fields)
    assert first.stop_reason == "tool_use"
    (use,) = [block for block in first.content if block.type == "tool_use"]
    assert use.id and use.name == "weather" and set(use.input) == {"city", "unit"}
    for content in ("18 and sunny", [{"type": "text", "text": "18 and sunny"}]):
        result = {"type": "tool_result", "tool_use_id": use.id, "content": content}
        turns = [*ASK, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        second = say(ant, model, messages=turns, tool_choice={"type": "none"}, **fields)
        assert second.stop_reason in ("end_turn", "max_tokens") and text(second)


def test_a_streamed_use_is_the_whole_one(ant, model):
    fields = {"messages": ASK, "tools": [TOOL], "max_tokens": 200, **COLD}
    fields |= {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    (whole,) = [block for block in say(ant, model, **fields).content if block.type == "tool_use"]
    with ant.messages.stream(model=model, **fields) as stream:
        parts = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    (use,) = [block for block in final.content if block.type == "tool_use"]
    assert use.input == whole.input == json.loads(joined(parts))


def test_a_use_that_was_cut_off_is_a_use(ant, model):
    fields = {"tools": [WRITE], "tool_choice": {"type": "any"}, "max_tokens": ESSAY_TOKENS, **COLD}
    message = say(ant, model, **fields)
    assert message.stop_reason == "max_tokens" and text(message) == ""
    (use,) = message.content
    assert use.type == "tool_use" and use.name == "write" and list(use.input) == ["INVALID_JSON"]
    partial = use.input["INVALID_JSON"]
    assert partial.startswith("{") and not is_json(partial)
    events = list(say(ant, model, stream=True, **fields))
    parts = [event.delta.partial_json for event in events if event.type == "content_block_delta"]
    assert joined(parts) == partial and len(parts) > 5
    # It can be said back as it is, and answered.
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "That was no JSON.", "is_error": True}
    turns = [*ASK, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    assert say(ant, model, messages=turns, tools=[WRITE], tool_choice={"type": "none"})


def used(results, uses=("a", "b")):
    """A conversation in which the clock was read, and what it said."""
    uses = [{"type": "tool_use", "id": name, "name": "clock", "input": {}} for name in uses]
    results = [{"type": "tool_result", **result} for result in results]
    return [*ASK, {"role": "assistant", "content": uses}, {"role": "user", "content": results}]


def test_an_error_of_a_tool_is_said(ant, model):
    def tokens(*result):
        return ant.messages.count_tokens(model=model, messages=used(result, ["a"]), tools=[CLOCK]).input_tokens

    failed = tokens({"tool_use_id": "a", "content": "no clock", "is_error": True})
    assert failed == tokens({"tool_use_id": "a", "content": "Error: no clock"})
    assert failed > tokens({"tool_use_id": "a", "content": "no clock", "is_error": False})


@pytest.mark.parametrize(("ids", "at"), [("c", 0), ("aa", 1), ("abb", 2)])
def test_a_result_of_no_use_is_refused(ant, model, ids, at):
    with pytest.raises(anthropic.BadRequestError) as caught:
        say(ant, model, messages=used([{"tool_use_id": name, "content": "noon"} for name in ids]), tools=[CLOCK])
    assert f"`messages[2].content[{at}].tool_use_id`" in caught.value.body["error"]["message"]


def test_results_in_any_order(ant, model):
    results = [{"tool_use_id": "a", "content": "noon"}, {"tool_use_id": "b", "content": "a quarter past midnight"}]
    said = [text(say(ant, model, messages=used(order), tools=[CLOCK], **COLD)) for order in (results, results[::-1])]
    assert said[0] == said[1]


def test_names_of_tools_may_be_long(ant, model):
    fields = {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}, "max_tokens": 300}
    message = say(ant, model, tools=[{**CLOCK, "name": LONG_NAME}], **fields)
    assert [block.name for block in message.content if block.type == "tool_use"] == [LONG_NAME]
    with pytest.raises(anthropic.BadRequestError) as caught:
        say(ant, model, tools=[{**CLOCK, "name": LONG_NAME + "f"}])
    assert "`tools[0]`" in caught.value.body["error"]["message"]


def test_tokens_are_counted(ant, model):
    fields = {"messages": ASK, "system": "Be short.", "tools": [TOOL]}
    counted = ant.messages.count_tokens(model=model, **fields).input_tokens
    assert counted == total(say(ant, model, **fields).usage)
    assert counted > ant.messages.count_tokens(model=model, messages=ASK).input_tokens


@pytest.mark.parametrize(
    "thinking",
    [
        {"type": "disabled"},
        {"type": "enabled", "budget_tokens": 1024},
        {"type": "enabled", "budget_tokens": 1024, "display": "summarized"},
        {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
        {"type": "adaptive"},
    ],
)
def test_thinking_may_be_asked_for(ant, model, thinking):
    # Models that do not reason answer at once; those that do, say it in blocks of its own.
    try:
        message = say(ant, model, thinking=thinking, max_tokens=64)
    except anthropic.BadRequestError as error:
        assert "`thinking" in error.body["error"]["message"]
        assert thinking.get("display") == "omitted", "all others can be honoured"
        return
    kinds = [block.type for block in message.content]
    assert kinds == sorted(kinds, key=["thinking", "text"].index)


def test_stop_sequences(ant, model):
    free = text(say(ant, model, **COLD))
    word = free.split()[2]
    message = say(ant, model, **COLD, stop_sequences=["never", word])
    assert message.stop_reason == "stop_sequence" and message.stop_sequence == word
    assert text(message) == free[: free.index(word)]
    with ant.messages.stream(model=model, messages=ASK, max_tokens=12, stop_sequences=[word], **COLD) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "stop_sequence" and final.stop_sequence == word


def test_a_format(ant, model):
    class Fish(BaseModel):
        model_config = ConfigDict(extra="forbid")
        # The SDK keeps limits of lengths to itself, so a text could be as long as the context.
        name: Literal["Tom", "Ann"]
        colour: Literal["red", "blue"]

    message = ant.messages.parse(model=model, messages=ASK, max_tokens=300, output_format=Fish)
    assert isinstance(message.parsed_output, Fish)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": []}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"extra_body": {"temperature": "hot"}}, "temperature"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "x", "name": "y", "input": {}}]}]}, "messages[0]"),
        ({"messages": used([{"tool_use_id": "a", "content": 5}])}, "messages[2].content[0].content`"),
        ({"messages": used([{"content": "noon"}])}, "messages[2].content[0].tool_use_id`"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "y"}]}]}, "messages[0].content[0].input`"),
        ({"messages": [{"role": "user"}]}, "messages[0].content`"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text`"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role`"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type`"),
        ({"tools": [{**CLOCK, "magic": 1}]}, "tools[0].magic`"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema`"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}}, "thinking.display`"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tool_choice": {"type": "tool", "name": "x"}}, "tool_choice"),
        ({"stop_sequences": "x y".split() * 9}, "stop_sequences"),
        ({"extra_body": {"n": 2}}, "n"),
        ({"extra_body": {"return_progress": True}}, "return_progress`"),
        ({"extra_body": {"repetition_penalty": 0}}, "repetition_penalty`"),
        ({"extra_body": {"magic": 1}}, "magic"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_refused_by_name(ant, model, fields, named, stream):
    with pytest.raises(anthropic.BadRequestError) as caught:
        say(ant, model, stream=stream, **fields)
    body = caught.value.body
    assert body["type"] == "error" and body["error"]["type"] == "invalid_request_error"
    assert f"`{named}" in body["error"]["message"]


def test_another_model(ant):
    for ask in (lambda: say(ant, "nobody"), lambda: ant.messages.count_tokens(model="nobody", messages=ASK)):
        with pytest.raises(anthropic.NotFoundError) as caught:
            ask()
        assert caught.value.body["error"]["type"] == "not_found_error"


def test_models(ant, model):
    (known,) = ant.models.list()
    assert known.id == ant.models.retrieve(model).id == model and known.type == "model"
    with pytest.raises(anthropic.NotFoundError) as caught:
        ant.models.retrieve("nobody")
    assert caught.value.body["error"]["type"] == "not_found_error"


def test_another_address(ant, model):
    client = anthropic_client(path="/anthropic")
    assert text(say(client, model, **COLD)) == text(say(ant, model, **COLD))
    assert client.messages.count_tokens(model=model, messages=ASK) == ant.messages.count_tokens(model=model, messages=ASK)
    with pytest.raises(anthropic.NotFoundError) as caught:
        say(client, "nobody")
    assert caught.value.body["error"]["type"] == "not_found_error"


def test_the_model_has_another_name(ant, model, alias):
    assert say(ant, alias).model == model and ant.models.retrieve(alias).id == model


def test_a_wrong_key(key_server, model):
    url, key = key_server
    # Some set both; one that is right will do.
    both = {"x-api-key": "wrong"}
    assert anthropic_client(url, None, auth_token=key, default_headers=both).messages.count_tokens(model=model, messages=ASK)
    assert anthropic_client(url, key).messages.count_tokens(model=model, messages=ASK)
    assert anthropic.Anthropic(base_url=url, auth_token=key, api_key=None).messages.count_tokens(
        model=model, messages=ASK
    )
    with pytest.raises(anthropic.AuthenticationError) as caught:
        say(anthropic_client(url, "wrong"), model)
    assert caught.value.body["error"]["type"] == "authentication_error"
