"""OpenAI's SDK for chat completions, completions and models."""

import json
from typing import Literal

import openai
import pytest
from conftest import ESSAY, ESSAY_TOKENS, LONG_NAME, WEATHER, is_json, joined, openai_client
from pydantic import BaseModel, ConfigDict, Field

ASK = [{"role": "user", "content": "Tell me about a fish."}]
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather in a city.", "parameters": WEATHER, "strict": True},
}
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": NOTHING}}
WRITE = {"type": "function", "function": {"name": "write", "parameters": ESSAY}}


class Fish(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=12)
    colour: Literal["red", "blue"]
    legs: int = Field(ge=0, le=9)


def chat(client, model, **fields):
    fields = {"messages": ASK, "max_tokens": 12, **fields}
    return client.chat.completions.create(model=model, **fields)


def test_a_whole_answer(oai, model):
    answer = chat(oai, model)
    assert answer.model == model and len(answer.choices) == 1
    assert answer.choices[0].message.content
    usage = answer.usage
    assert 1 <= usage.completion_tokens <= 12
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_an_answer_can_be_said_back(oai, model):
    answer = chat(oai, model).choices[0].message
    for said in (answer, answer.model_dump(), answer.model_dump(exclude_none=True)):
        assert chat(oai, model, messages=[*ASK, said, {"role": "user", "content": "And then?"}]).choices


def test_a_stream_says_what_the_whole_says(oai, model):
    whole = chat(oai, model, temperature=0)
    chunks = list(chat(oai, model, temperature=0, stream=True, stream_options={"include_usage": True}))
    text = joined(chunk.choices[0].delta.content for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert reasons == [whole.choices[0].finish_reason]
    *others, last = chunks
    assert last.choices == [] and all(chunk.usage is None for chunk in others)
    assert last.usage.prompt_tokens == whole.usage.prompt_tokens
    assert last.usage.completion_tokens == whole.usage.completion_tokens


def test_a_stream_without_usage_has_none(oai, model):
    assert all(chunk.choices and chunk.usage is None for chunk in chat(oai, model, stream=True))


def test_the_sdk_puts_a_stream_together(oai, model):
    # The helper takes an answer that was cut off for an error, so this one ends by itself, at its first space but one.
    stop = " " + chat(oai, model, temperature=0).choices[0].message.content.split()[1]
    with oai.chat.completions.stream(model=model, messages=ASK, max_tokens=12, temperature=0, stop=stop) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        answer = stream.get_final_completion()
    assert joined(deltas) == answer.choices[0].message.content


def test_the_same_seed_gives_the_same_answer(oai, model):
    said = [chat(oai, model, seed=seed, temperature=1.5).choices[0].message.content for seed in (7, 7, 8, 9)]
    assert said[0] == said[1]
    assert len(set(said)) > 1


def test_several_answers(oai, model):
    whole = chat(oai, model, n=3, seed=1, temperature=1)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    texts = {0: "", 1: "", 2: ""}
    for chunk in chat(oai, model, n=3, seed=1, temperature=1, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert [texts[i] for i in range(3)] == [choice.message.content for choice in whole.choices]


def test_stop(oai, model):
    free = chat(oai, model, temperature=0).choices[0].message.content
    word = free.split()[2]
    answer = chat(oai, model, temperature=0, stop=[word, "never"])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content == free[: free.index(word)]
    chunks = chat(oai, model, temperature=0, stop=word, stream=True)
    assert joined(chunk.choices[0].delta.content for chunk in chunks) == free[: free.index(word)]


def test_logprobs(oai, model):
    answer = chat(oai, model, logprobs=True, top_logprobs=3, temperature=0)
    tokens = answer.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == answer.choices[0].message.content
    for token in tokens:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3
        assert token.top_logprobs[0].token == token.token, "temperature 0 takes the most likely"
    streamed = [
        token.logprob
        for chunk in chat(oai, model, logprobs=True, top_logprobs=3, temperature=0, stream=True)
        if chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]
    assert streamed == [token.logprob for token in tokens]


def test_a_call_and_its_result(oai, model):
    answer = chat(oai, model, tools=[TOOL], tool_choice="required", parallel_tool_calls=False, max_tokens=200)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls" and len(choice.message.tool_calls) == 1
    call = choice.message.tool_calls[0]
    assert call.id and call.function.name == "weather"
    assert set(json.loads(call.function.arguments)) == {"city", "unit"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "18 and sunny"}
    second = chat(oai, model, messages=[*ASK, choice.message, result], tools=[TOOL], tool_choice="none")
    assert second.choices[0].message.content and not second.choices[0].message.tool_calls


def test_a_streamed_call_is_the_whole_one(oai, model):
    fields = {"tools": [TOOL, CLOCK], "tool_choice": {"type": "function", "function": {"name": "weather"}}}
    fields |= {"max_tokens": 200, "temperature": 0}
    (whole,) = chat(oai, model, **fields).choices[0].message.tool_calls
    (call,) = streamed_calls(chat(oai, model, stream=True, **fields))
    assert call["id"] and call["name"] == "weather"
    assert call["arguments"] == whole.function.arguments


def test_calls_beside_each_other(oai, model):
    # No model here is told to make two; whatever number comes, each is complete and has a name of its own.
    answer = chat(oai, model, tools=[TOOL, CLOCK], tool_choice="required", max_tokens=400, temperature=0)
    calls = answer.choices[0].message.tool_calls
    assert len({call.id for call in calls}) == len(calls) >= 1
    results = [{"role": "tool", "tool_call_id": call.id, "content": call.function.name} for call in calls]
    assert chat(oai, model, messages=[*ASK, answer.choices[0].message, *results], tools=[TOOL, CLOCK]).choices


def streamed_calls(chunks):
    """The calls of a stream, and of each how many times its arguments grew."""
    calls = {}
    for chunk in chunks:
        for delta in chunk.choices[0].delta.tool_calls or []:
            call = calls.setdefault(delta.index, {"id": delta.id, "name": delta.function.name, "arguments": "", "steps": 0})
            call["arguments"] += delta.function.arguments or ""
            call["steps"] += bool(delta.function.arguments)
    return list(calls.values())


def test_a_call_that_was_cut_off_is_a_call(oai, model):
    fields = {"tools": [WRITE], "tool_choice": "required", "max_tokens": ESSAY_TOKENS, "temperature": 0}
    choice = chat(oai, model, **fields).choices[0]
    assert choice.finish_reason == "length" and choice.message.content is None
    (call,) = choice.message.tool_calls
    assert call.function.name == "write" and call.function.arguments.startswith("{")
    assert not is_json(call.function.arguments)
    (streamed,) = streamed_calls(chat(oai, model, stream=True, **fields))
    assert (streamed["name"], streamed["arguments"]) == ("write", call.function.arguments)
    assert streamed["steps"] > 5, "whoever waits for long arguments sees them grow"
    # It can be said back as it is, and answered.
    result = {"role": "tool", "tool_call_id": call.id, "content": "That was no JSON."}
    assert chat(oai, model, messages=[*ASK, choice.message, result], tools=[WRITE], tool_choice="none").choices


def test_a_call_that_was_cut_off_before_its_name_is_none(oai, model):
    # Nobody could say whose call it is, so it is what the model wrote, whole and in a stream.
    fields = {"tools": [TOOL], "tool_choice": "required", "max_tokens": 2, "temperature": 0}
    choice = chat(oai, model, **fields).choices[0]
    assert choice.finish_reason == "length" and not choice.message.tool_calls
    chunks = list(chat(oai, model, stream=True, **fields))
    assert joined(chunk.choices[0].delta.content for chunk in chunks) == (choice.message.content or "")
    assert streamed_calls(chunks) == []


def test_results_find_their_calls(oai, model):
    calls = [
        {"id": f"call_{city}", "type": "function", "function": {"name": "weather", "arguments": f'{{"city": "{city}"}}'}}
        for city in ("Bern", "Oslo")
    ]
    results = [
        {"role": "tool", "tool_call_id": "call_Bern", "content": "sunny"},
        {"role": "tool", "tool_call_id": "call_Oslo", "content": "snow"},
    ]

    def first_tokens(results):
        said = [*ASK, {"role": "assistant", "content": None, "tool_calls": calls}, *results]
        answer = chat(oai, model, messages=said, tools=[TOOL], temperature=0, logprobs=True)
        return [token.logprob for token in answer.choices[0].logprobs.content]

    assert first_tokens(results) == first_tokens(results[::-1])


def test_two_calls_that_were_made_can_be_answered(oai, model):
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern", "unit": "C"}'}}
    calls = [{**call, "id": "call_a"}, {**call, "id": "call_b"}]
    said = {"role": "assistant", "content": None, "tool_calls": calls}
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in ("call_a", "call_b")]
    assert chat(oai, model, messages=[*ASK, said, *results], tools=[TOOL]).choices[0].message.content is not None


@pytest.mark.parametrize(
    ("ids", "at"),
    [(["call_c"], 0), (["call_a", "call_a"], 1), (["call_a", "call_b", "call_b"], 2), (["call_b", ""], 1)],
)
def test_a_result_of_no_call_is_refused(oai, model, ids, at):
    call = {"type": "function", "function": {"name": "clock", "arguments": "{}"}}
    said = {"role": "assistant", "content": None, "tool_calls": [{**call, "id": "call_a"}, {**call, "id": "call_b"}]}
    results = [{"role": "tool", "tool_call_id": name, "content": "noon"} for name in ids]
    with pytest.raises(openai.BadRequestError) as caught:
        chat(oai, model, messages=[*ASK, said, *results], tools=[CLOCK])
    assert caught.value.param == f"messages[{len(ASK) + 1 + at}].tool_call_id"


def test_names_of_functions_may_be_long(oai, model):
    def tools(name):
        return [{"type": "function", "function": {"name": name, "parameters": NOTHING}}]

    answer = chat(oai, model, tools=tools(LONG_NAME), tool_choice="required", parallel_tool_calls=False, max_tokens=300)
    assert answer.choices[0].message.tool_calls[0].function.name == LONG_NAME
    with pytest.raises(openai.BadRequestError) as caught:
        chat(oai, model, tools=tools(LONG_NAME + "f"))
    assert caught.value.param == "tools[0]"


def test_whole_numbers_may_have_a_fraction_of_nothing(oai, model):
    answer = chat(oai, model, extra_body={"max_tokens": 5.0, "n": 2.0, "top_k": 40.0, "seed": 7.0}, stop=[])
    assert len(answer.choices) == 2 and answer.usage.completion_tokens <= 10
    with pytest.raises(openai.BadRequestError) as caught:
        chat(oai, model, extra_body={"max_tokens": 5.5})
    assert caught.value.param == "max_tokens"


def test_the_most_tokens_are_said_once(oai, model):
    assert chat(oai, model, max_tokens=3, max_completion_tokens=3).usage.completion_tokens <= 3
    with pytest.raises(openai.BadRequestError) as caught:
        chat(oai, model, max_tokens=3, max_completion_tokens=4)
    assert caught.value.param == "max_tokens"


def test_a_stream_may_say_how_far_the_prompt_is_read(oai, model):
    ask = [{"role": "user", "content": "Tell me about a fish. " * 20}]
    chunks = list(chat(oai, model, messages=ask, stream=True, extra_body={"return_progress": True}))
    said = [chunk.model_extra["prompt_progress"] for chunk in chunks if "prompt_progress" in chunk.model_extra]
    assert said and said[-1]["processed"] == said[-1]["total"], "what was cached counts as read"
    assert all(progress["cache"] <= progress["processed"] <= progress["total"] for progress in said)
    with pytest.raises(openai.BadRequestError) as caught:
        chat(oai, model, extra_body={"return_progress": True})
    assert caught.value.param == "return_progress"


def test_the_sdk_parses_calls(oai, model):
    class Weather(BaseModel):
        city: str = Field(max_length=12)

    tool = openai.pydantic_function_tool(Weather)
    answer = oai.chat.completions.parse(
        model=model, messages=ASK, tools=[tool], tool_choice="required", parallel_tool_calls=False, max_tokens=200
    )
    assert isinstance(answer.choices[0].message.tool_calls[0].function.parsed_arguments, Weather)


def test_a_format(oai, model):
    answer = oai.chat.completions.parse(model=model, messages=ASK, response_format=Fish, max_tokens=200)
    assert isinstance(answer.choices[0].message.parsed, Fish)
    with oai.chat.completions.stream(model=model, messages=ASK, response_format=Fish, max_tokens=200) as stream:
        for _ in stream:
            pass
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Fish)


def test_a_json_object(oai, model):
    answer = chat(oai, model, response_format={"type": "json_object"}, max_tokens=200, temperature=0)
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 999}, "temperature"),
        ({"n": 0}, "n"),
        ({"n": 99}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": []}}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_object", "magic": 1}}, "response_format.magic"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [CLOCK, {"type": "function", "function": {"name": "x", "magic": 1}}]}, "tools[1].function.magic"),
        ({"tools": [CLOCK, CLOCK]}, "tools[1]"),
        ({"messages": [*ASK, {"role": "user", "content": [{"type": "image_url"}]}]}, "messages[1].content"),
        ({"messages": [*ASK, {"role": "assistant", "tool_calls": [{"id": "x"}]}]}, "messages[1].tool_calls[0].function"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"extra_body": {"repetition_penalty": 0}}, "repetition_penalty"),
        ({"extra_body": {"repeat_penalty": 0}}, "repeat_penalty"),
        ({"extra_body": {"structured_outputs": {"json": 5}}}, "structured_outputs.json"),
        ({"extra_body": {"structured_outputs": {"regex": "("}}}, "structured_outputs"),
        ({"extra_body": {"structured_outputs": {"choice": []}}}, "structured_outputs.choice"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"extra_body": {"magic": 1}}, "magic"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_refused_by_name(oai, model, fields, param, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(oai, model, stream=stream, **fields)
    error = caught.value
    assert error.status_code == 400 and error.type == "invalid_request_error" and error.param == param
    assert error.body["message"]


def test_a_prompt_that_is_too_long(oai, model):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(oai, model, messages=[{"role": "user", "content": "fish " * 20_000}])
    assert caught.value.code == "context_length_exceeded"


def test_models(oai, model):
    assert [known.id for known in oai.models.list()] == [model]
    assert oai.models.retrieve(model).id == model
    for ask in (lambda: oai.models.retrieve("nobody"), lambda: chat(oai, "nobody")):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert caught.value.code == "model_not_found"


def test_a_text_goes_on(oai, model):
    fields = {"model": model, "prompt": "Once upon a time", "max_tokens": 12, "temperature": 0}
    whole = oai.completions.create(**fields, logprobs=2, n=2)
    assert [choice.index for choice in whole.choices] == [0, 1]
    choice = whole.choices[0]
    assert choice.finish_reason in ("length", "stop") and choice.text
    assert joined(choice.logprobs.tokens) == choice.text
    echoed = oai.completions.create(**fields, echo=True)
    assert echoed.choices[0].text == "Once upon a time" + choice.text


def test_a_streamed_text_is_the_whole_one(oai, model):
    # The SDK's model of a chunk is that of the whole, which always has a reason; it streams none until the end, so it is lenient here.
    client = oai.copy()
    client._strict_response_validation = False
    fields = {"model": model, "prompt": "Once upon a time", "max_tokens": 12, "temperature": 0}
    whole = oai.completions.create(**fields)
    chunks = list(client.completions.create(**fields, stream=True, stream_options={"include_usage": True}))
    assert joined(choice.text for chunk in chunks for choice in chunk.choices) == whole.choices[0].text
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_texts_beside_each_other(oai, model):
    fields = {"model": model, "max_tokens": 4, "temperature": 0}
    prompts = ["Once upon a time", "One day"]
    alone = [oai.completions.create(prompt=prompt, **fields) for prompt in prompts]
    texts = [answer.choices[0].text for answer in alone]
    both = oai.completions.create(prompt=prompts, **fields)
    assert [choice.text for choice in both.choices] == texts
    assert both.usage.prompt_tokens == sum(answer.usage.prompt_tokens for answer in alone)
    twice = oai.completions.create(prompt=prompts, n=2, echo=True, **fields)
    expected = [prompt + text for prompt, text in zip(prompts, texts) for _ in range(2)]
    assert [choice.text for choice in twice.choices] == expected
    assert [choice.index for choice in twice.choices] == [0, 1, 2, 3]
    assert twice.usage.prompt_tokens == both.usage.prompt_tokens, "a prompt is read once for all its answers"


def test_tokens_beside_each_other(oai, model):
    fields = {"model": model, "max_tokens": 4, "temperature": 0}
    prompts = ["Once upon a time", "One day"]
    root = openai_client(path="")
    ids = [
        root.post("/tokenize", body={"content": prompt, "add_special": True}, cast_to=object)["tokens"] for prompt in prompts
    ]
    texts = [choice.text for choice in oai.completions.create(prompt=prompts, **fields).choices]
    for given in (ids, [ids[0], prompts[1]]):
        assert [choice.text for choice in oai.completions.create(prompt=given, **fields).choices] == texts
    assert oai.completions.create(prompt=ids[0], **fields).choices[0].text == texts[0]
    client = oai.copy()
    client._strict_response_validation = False
    streamed = ["", ""]
    for chunk in client.completions.create(prompt=ids, stream=True, **fields):
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
    assert streamed == texts


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["x", 5]}, "prompt"),
        ({"prompt": ["x"] * 65}, "prompt"),
        ({"prompt": ["x"] * 17, "n": 4}, "prompt"),
        ({"echo": True, "logprobs": 0}, "echo"),
        ({"best_of": 3}, "best_of"),
        ({"logprobs": 21}, "logprobs"),
    ],
)
def test_texts_that_cannot_be_had_are_refused_by_name(oai, model, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        oai.completions.create(model=model, **{"prompt": "x", "max_tokens": 1, **fields})
    assert caught.value.param == param


def test_there_are_no_embeddings(oai, model):
    with pytest.raises(openai.NotFoundError) as caught:
        oai.embeddings.create(model=model, input="x")
    assert caught.value.param == "model"


def test_who_finds_no_place_comes_back(key_server, model):
    # A server with two places: one runs, one waits, and who comes third is told to come back, which the SDK does by itself.
    url, key = key_server
    client = openai_client(url, key)
    long = {"messages": ASK, "n": 16, "max_tokens": 1500, "stream": True}
    held = []
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(4):
            held.append(client.chat.completions.create(model=model, **long))
    assert caught.value.code == "rate_limit_exceeded" and int(caught.value.response.headers["retry-after"]) >= 1
    for stream in held:
        stream.close()
    assert chat(openai_client(url, key, retries=4), model).choices


@pytest.mark.parametrize("path", ["", "/beta"])
def test_other_addresses(oai, model, path):
    client = openai_client(path=path)
    same = {"temperature": 0, "max_tokens": 4}
    assert chat(client, model, **same).choices[0].message == chat(oai, model, **same).choices[0].message
    assert client.completions.create(model=model, prompt="One day", max_tokens=4).choices
    if path == "":
        assert [known.id for known in client.models.list()] == [model]


def test_the_model_has_another_name(oai, model, alias):
    assert chat(oai, alias).model == model and oai.models.retrieve(alias).id == model


def test_requests_have_ids(oai, model):
    first, second = chat(oai, model), chat(oai, model)
    assert first._request_id and second._request_id and first._request_id != second._request_id
    assert chat(oai, model, extra_headers={"x-request-id": "mine-1"})._request_id == "mine-1"
    assert chat(oai, model, extra_headers={"x-request-id": "not mine"})._request_id != "not mine"
    with pytest.raises(openai.NotFoundError) as caught:
        chat(oai, "nobody", extra_headers={"x-request-id": "mine-2"})
    assert caught.value.request_id == "mine-2"


def test_answers_say_what_they_are_by_their_ids(oai, model):
    assert chat(oai, model).id.startswith("chatcmpl-")
    assert oai.completions.create(model=model, prompt="One day", max_tokens=2).id.startswith("cmpl-")


def test_a_wrong_key(key_server, other_key):
    url, key = key_server
    for right in (key, other_key):
        assert openai_client(url, right).models.list().data
    for headers in ({"Authorization": f"bearer {key}"}, {"Authorization": "Bearer wrong", "x-api-key": key}):
        assert openai_client(url, "wrong", default_headers=headers).models.list().data
    for wrong in ("wrong", key[:-1]):
        with pytest.raises(openai.AuthenticationError) as caught:
            openai_client(url, wrong).models.list()
        assert caught.value.code == "invalid_api_key"
