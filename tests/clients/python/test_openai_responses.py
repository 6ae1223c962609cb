"""OpenAI's SDK for responses."""

import json
from typing import Literal

import openai
import pytest
from conftest import ESSAY, ESSAY_TOKENS, WEATHER, is_json, joined, openai_client
from pydantic import BaseModel, ConfigDict, Field

ASK = "Tell me about a fish."
TOOL = {"type": "function", "name": "weather", "description": "The weather.", "parameters": WEATHER, "strict": True}
WRITE = {"type": "function", "name": "write", "parameters": ESSAY}


class Fish(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=12)
    colour: Literal["red", "blue"]


def respond(client, model, **fields):
    return client.responses.create(model=model, **{"input": ASK, "max_output_tokens": 12, **fields})


def test_a_whole_response(oai, model):
    response = respond(oai, model, instructions="Be short.", metadata={"a": "b"}, temperature=0.5)
    assert response.output_text and response.model == model
    assert response.status in ("completed", "incomplete")
    if response.status == "incomplete":
        assert response.incomplete_details.reason == "max_output_tokens"
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert (response.instructions, response.metadata, response.temperature) == ("Be short.", {"a": "b"}, 0.5)
    assert response.id.startswith("resp_") and response.usage.input_tokens_details.cache_write_tokens == 0
    assert response.model_extra["timings"]["predicted_n"] < 12


def test_numbers_are_as_people_write_them(oai, model):
    response = respond(oai, model)
    assert all(len(str(number)) <= 5 for number in (response.temperature, response.top_p)), "no 0.949999988079071"


def check_events(events):
    """The order that every client relies on: items and parts are opened before they grow, and closed."""
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] in ("response.completed", "response.incomplete")
    items, open_item, open_part = [], None, False
    for event in events[2:-1]:
        match event.type:
            case "response.output_item.added":
                assert open_item is None and event.output_index == len(items)
                open_item = event.item.id
            case "response.output_item.done":
                assert event.item.id == open_item and not open_part
                items.append(event.item)
                open_item = None
            case "response.content_part.added":
                assert event.item_id == open_item and not open_part
                open_part = True
            case "response.content_part.done":
                assert open_part
                open_part = False
            case _:
                assert event.item_id == open_item and event.output_index == len(items)
    final = events[-1].response
    assert [item.model_dump() for item in final.output] == [item.model_dump() for item in items]
    return final


def test_a_stream_says_what_the_whole_says(oai, model):
    whole = respond(oai, model, temperature=0)
    events = list(respond(oai, model, temperature=0, stream=True))
    final = check_events(events)
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert joined(deltas) == final.output_text == whole.output_text
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert set(final.model_dump(exclude_unset=True)) == set(whole.model_dump(exclude_unset=True))


def test_the_sdk_puts_a_stream_together(oai, model):
    with oai.responses.stream(model=model, input=ASK, max_output_tokens=300, text_format=Fish) as stream:
        kinds = {event.type for event in stream}
        response = stream.get_final_response()
    assert {"response.output_text.delta", "response.output_text.done", "response.completed"} <= kinds
    assert isinstance(response.output_parsed, Fish)


def test_a_format(oai, model):
    response = oai.responses.parse(model=model, input=ASK, max_output_tokens=300, text_format=Fish)
    assert isinstance(response.output_parsed, Fish)


def test_going_on_from_a_response(oai, model):
    first = respond(oai, model, temperature=0)
    second = respond(oai, model, input="And then?", previous_response_id=first.id, temperature=0)
    assert second.previous_response_id == first.id
    items = [{"role": "user", "content": ASK}, *first.output, {"role": "user", "content": "And then?"}]
    by_hand = respond(oai, model, input=items, temperature=0)
    assert second.output_text == by_hand.output_text
    assert second.usage.input_tokens == by_hand.usage.input_tokens


def test_a_response_is_kept_and_forgotten(oai, model):
    kept = respond(oai, model)
    again = oai.responses.retrieve(kept.id)
    assert again.model_dump() == kept.model_dump()
    oai.responses.delete(kept.id)
    with pytest.raises(openai.NotFoundError):
        oai.responses.retrieve(kept.id)
    with pytest.raises((openai.NotFoundError, openai.BadRequestError)) as caught:
        respond(oai, model, previous_response_id=kept.id)
    assert caught.value.param == "previous_response_id"
    unkept = respond(oai, model, store=False)
    with pytest.raises(openai.NotFoundError):
        oai.responses.retrieve(unkept.id)


def test_a_call_and_its_result(oai, model):
    fields = {"tools": [TOOL], "max_output_tokens": 200}
    first = respond(oai, model, tool_choice="required", parallel_tool_calls=False, **fields)
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert call.name == "weather" and set(json.loads(call.arguments)) == {"city", "unit"}
    assert first.tools[0].name == "weather" and first.tool_choice == "required" and not first.parallel_tool_calls
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "18 and sunny"}
    second = respond(oai, model, input=[result], previous_response_id=first.id, tool_choice="none", **fields)
    assert all(item.type != "function_call" for item in second.output)
    items = [{"role": "user", "content": ASK}, *first.output, result]
    third = respond(oai, model, input=items, tool_choice="none", **fields)
    assert third.usage.input_tokens == second.usage.input_tokens


def test_a_streamed_call_is_the_whole_one(oai, model):
    fields = {"tools": [TOOL], "tool_choice": {"type": "function", "name": "weather"}, "temperature": 0}
    whole = respond(oai, model, max_output_tokens=200, **fields)
    events = list(respond(oai, model, max_output_tokens=200, stream=True, **fields))
    final = check_events(events)
    (call,) = [item for item in final.output if item.type == "function_call"]
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    (expected,) = [item for item in whole.output if item.type == "function_call"]
    assert joined(deltas) == call.arguments == expected.arguments


def test_a_call_that_was_cut_off_is_a_call(oai, model):
    fields = {"tools": [WRITE], "tool_choice": "required", "max_output_tokens": ESSAY_TOKENS, "temperature": 0}
    whole = respond(oai, model, **fields)
    assert whole.status == "incomplete" and whole.output_text == ""
    (call,) = whole.output
    assert (call.type, call.name, call.status) == ("function_call", "write", "incomplete")
    assert call.arguments.startswith("{") and not is_json(call.arguments)
    events = list(respond(oai, model, stream=True, **fields))
    (streamed,) = check_events(events).output
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert joined(deltas) == streamed.arguments == call.arguments and len(deltas) > 5
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "That was no JSON."}
    assert respond(oai, model, input=[result], previous_response_id=whole.id, tools=[WRITE], tool_choice="none").output


def test_functions_may_stand_as_in_chat(oai, model):
    # Some clients of this API write tools in the older form; the response shows them in its own.
    nested = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
    (tool,) = respond(oai, model, tools=[nested]).tools
    assert (tool.type, tool.name, tool.parameters, tool.strict) == ("function", "weather", WEATHER, False)


def test_results_find_their_calls(oai, model):
    calls = [
        {"type": "function_call", "call_id": f"call_{city}", "name": "weather", "arguments": f'{{"city": "{city}"}}'}
        for city in ("Bern", "Oslo")
    ]
    results = [
        {"type": "function_call_output", "call_id": "call_Bern", "output": "sunny"},
        {"type": "function_call_output", "call_id": "call_Oslo", "output": [{"type": "input_text", "text": "snow"}]},
    ]

    def likely(results):
        items = [{"role": "user", "content": ASK}, *calls, *results]
        response = respond(oai, model, input=items, temperature=0, include=["message.output_text.logprobs"])
        return [token.logprob for token in response.output[-1].content[0].logprobs]

    assert likely(results) == likely(results[::-1])


def test_responses_belong_to_their_key(key_server, other_key, model):
    url, key = key_server
    mine, theirs = openai_client(url, key, retries=4), openai_client(url, other_key, retries=4)
    kept = respond(mine, model)
    assert mine.responses.retrieve(kept.id).id == kept.id
    for ask in (
        lambda: theirs.responses.retrieve(kept.id),
        lambda: theirs.responses.delete(kept.id),
        lambda: respond(theirs, model, previous_response_id=kept.id),
    ):
        with pytest.raises(openai.NotFoundError):
            ask()
    assert respond(mine, model, previous_response_id=kept.id).previous_response_id == kept.id


def test_the_sdk_parses_calls(oai, model):
    class Weather(BaseModel):
        city: str = Field(max_length=12)

    with oai.responses.stream(
        model=model,
        input=ASK,
        tools=[openai.pydantic_function_tool(Weather)],
        tool_choice="required",
        parallel_tool_calls=False,
        max_output_tokens=200,
    ) as stream:
        response = stream.get_final_response()
    (call,) = [item for item in response.output if item.type == "function_call"]
    assert isinstance(call.parsed_arguments, Weather)


def test_an_empty_answer_has_one_form(oai, model):
    # A stop text at the very beginning leaves nothing to say.
    first = oai.chat.completions.create(
        model=model, messages=[{"role": "user", "content": ASK}], max_tokens=12, temperature=0
    ).choices[0].message.content
    fields = {"temperature": 0, "extra_body": {"stop": first[:4]}}
    whole = respond(oai, model, **fields)
    final = check_events(list(respond(oai, model, stream=True, **fields)))
    assert whole.output_text == final.output_text == ""
    assert [item.type for item in whole.output] == [item.type for item in final.output] == ["message"]


def test_logprobs(oai, model):
    fields = {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "temperature": 0}
    response = respond(oai, model, **fields)
    part = response.output[-1].content[0]
    assert b"".join(bytes(token.bytes) for token in part.logprobs).decode() == part.text
    events = list(respond(oai, model, stream=True, **fields))
    check_events(events)
    streamed = [t.logprob for e in events if e.type == "response.output_text.delta" for t in e.logprobs]
    assert streamed == [token.logprob for token in part.logprobs]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": "x"}, {"type": "image"}]}, "input[1].type"),
        ({"input": [{"role": "user", "content": "x", "magic": 1}]}, "input[0].magic"),
        ({"input": [{"type": "function_call", "call_id": "x", "name": "y"}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "x", "output": "x"}]}, "input[0].call_id"),
        ({"extra_body": {"metadata": "x"}}, "metadata"),
        ({"extra_body": {"return_progress": True}}, "return_progress"),
        ({"extra_body": {"max_tokens": 5}}, "max_tokens"),
        ({"extra_body": {"repetition_penalty": 0}}, "repetition_penalty"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
        ({"temperature": 999}, "temperature"),
        ({"background": True}, "background"),
        ({"extra_body": {"magic": 1}}, "magic"),
        ({"extra_body": {"n": 2}}, "n"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": [{**TOOL, "name": "no name"}]}, "tools[0]"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_refused_by_name(oai, model, fields, param, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        answer = respond(oai, model, stream=stream, **fields)
        if stream:
            list(answer)
    assert caught.value.param == param
