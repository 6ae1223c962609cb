// OpenAI's SDK for Node: what it does by itself with an answer, such as joining a stream, calling functions and naming errors. What the
// fields of answers must be is checked with the Python SDK, whose models can be strict.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

const { SHOAL_URL, SHOAL_MODEL: model } = process.env;
const client = new OpenAI({ baseURL: `${SHOAL_URL}/v1`, apiKey: "none", maxRetries: 0, timeout: 120_000 });

const messages = [{ role: "user", content: "Tell me about a fish." }];
const short = { model, messages, max_tokens: 12, temperature: 0 };
const parameters = {
  type: "object",
  properties: { city: { type: "string", maxLength: 12 } },
  required: ["city"],
  additionalProperties: false,
};

test("a stream says what the whole says", async () => {
  const whole = await client.chat.completions.create(short);
  let text = "";
  let usage;
  for await (const chunk of await client.chat.completions.create({
    ...short,
    stream: true,
    stream_options: { include_usage: true },
  })) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

test("the SDK joins a stream", async () => {
  const stream = client.chat.completions.stream(short);
  const deltas = [];
  stream.on("content", (delta) => deltas.push(delta));
  const answer = await stream.finalChatCompletion();
  assert.equal(deltas.join(""), answer.choices[0].message.content);
});

test("the SDK calls a function and goes on with its result", async () => {
  const asked = [];
  const runner = client.chat.completions.runTools(
    {
      model,
      messages,
      max_tokens: 200,
      parallel_tool_calls: false,
      // A call that is required once: the SDK lets the model decide after it, so this ends.
      tool_choice: { type: "function", function: { name: "weather" } },
      tools: [
        {
          type: "function",
          function: {
            name: "weather",
            description: "The weather in a city.",
            parameters,
            parse: JSON.parse,
            function: ({ city }) => {
              asked.push(city);
              return "18 and sunny";
            },
          },
        },
      ],
    },
    { maxChatCompletions: 2 },
  );
  await runner.done();
  assert.ok(asked.length >= 1 && typeof asked[0] === "string");
  assert.ok(runner.messages.some((message) => message.role === "tool" && message.content === "18 and sunny"));
});

test("a streamed call is joined", async () => {
  const stream = client.chat.completions.stream({
    ...short,
    max_tokens: 200,
    parallel_tool_calls: false,
    tool_choice: "required",
    tools: [{ type: "function", function: { name: "weather", parameters } }],
  });
  const call = (await stream.finalChatCompletion()).choices[0].message.tool_calls[0];
  assert.equal(call.function.name, "weather");
  assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)), ["city"]);
});

test("responses", async () => {
  const asked = { model, input: "Tell me about a fish.", max_output_tokens: 12, temperature: 0 };
  const whole = await client.responses.create(asked);
  const stream = client.responses.stream(asked);
  const deltas = [];
  stream.on("response.output_text.delta", (event) => deltas.push(event.delta));
  const final = await stream.finalResponse();
  assert.equal(deltas.join(""), whole.output_text);
  assert.equal(final.output_text, whole.output_text);
  const next = await client.responses.create({ ...asked, input: "And then?", previous_response_id: whole.id });
  assert.equal(next.previous_response_id, whole.id);
  assert.equal((await client.responses.retrieve(whole.id)).output_text, whole.output_text);
});

test("a call that was cut off is a call", async () => {
  const essay = { ...parameters, properties: { text: { type: "string", minLength: 4000 } }, required: ["text"] };
  const asked = {
    ...short,
    max_tokens: 100,
    tool_choice: "required",
    tools: [{ type: "function", function: { name: "write", parameters: essay } }],
  };
  const [choice] = (await client.chat.completions.create(asked)).choices;
  assert.equal(choice.finish_reason, "length");
  const [call] = choice.message.tool_calls;
  assert.throws(() => JSON.parse(call.function.arguments), SyntaxError);
  let streamed = "";
  for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
    streamed += chunk.choices[0].delta.tool_calls?.[0].function.arguments ?? "";
  }
  assert.equal(streamed, call.function.arguments);
});

test("texts beside each other", async () => {
  const asked = { model, prompt: ["Once upon a time", "One day"], n: 2, max_tokens: 4, temperature: 0 };
  const { choices } = await client.completions.create(asked);
  assert.deepEqual(choices.map((choice) => choice.index), [0, 1, 2, 3]);
  assert.equal(choices[0].text, choices[1].text);
});

test("requests have ids", async () => {
  const { request_id: own } = await client.chat.completions.create(short).withResponse();
  assert.ok(own);
  await assert.rejects(
    client.chat.completions.create({ ...short, model: "nobody" }, { headers: { "x-request-id": "mine-1" } }),
    (error) => error.requestID === "mine-1",
  );
});

test("other addresses", async () => {
  for (const path of ["", "/beta"]) {
    const other = new OpenAI({ baseURL: SHOAL_URL + path, apiKey: "none", maxRetries: 0, timeout: 120_000 });
    const answer = await other.chat.completions.create(short);
    assert.equal(answer.model, model);
  }
});

test("errors have types", async () => {
  await assert.rejects(client.chat.completions.create({ ...short, model: "nobody" }), OpenAI.NotFoundError);
  await assert.rejects(
    client.chat.completions.create({ ...short, temperature: "hot" }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature" && error.message !== "",
  );
  await assert.rejects(
    client.chat.completions.create({ ...short, tools: [{ type: "web_search" }] }),
    (error) => error.param === "tools[0].type",
  );
  await assert.rejects(client.responses.create({ model, input: [] }), OpenAI.BadRequestError);
  await assert.rejects(client.embeddings.create({ model, input: "x" }), OpenAI.NotFoundError);
});

test("a stream can be left", async () => {
  const stream = await client.chat.completions.create({ ...short, max_tokens: 500, stream: true });
  for await (const _ of stream) break;
  assert.ok((await client.chat.completions.create(short)).choices.length);
});
