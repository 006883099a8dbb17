// The official OpenAI client for JavaScript, in front of either provider.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

import {
  answer,
  gateway,
  ledger,
  model,
  peerClosed,
  providers,
  question,
  repeating,
  slow,
  throughGateway,
  weather,
} from "./scenes.mjs";

const client = new OpenAI({ baseURL: `${gateway}/v1`, apiKey: "sk-of-the-client", maxRetries: 0, timeout: 10_000 });
const tools = [{ type: "function", function: weather }];

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const textOf = (chunks) => chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta.content ?? "")).join("");

for (const provider of providers("openai")) {
  test(`openai client to ${provider}: whole`, async () => {
    const whole = await client.chat.completions.create({ model: model(provider), messages: question });
    assert.equal(whole.choices[0].message.content, answer);
    assert.equal(whole.choices[0].finish_reason, "stop");
    assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
  });

  test(`openai client to ${provider}: streamed text and usage equal the whole answer`, async () => {
    const asked = { model: model(provider), messages: question };
    const whole = await client.chat.completions.create(asked);
    const chunks = await collect(
      await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } }),
    );
    assert.equal(textOf(chunks), answer);
    assert.deepEqual(chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.finish_reason).filter(Boolean)), ["stop"]);
    assert.equal(chunks.at(-1).usage.completion_tokens, whole.usage.completion_tokens);
    assert.equal(chunks.at(-1).usage.prompt_tokens, whole.usage.prompt_tokens);
  });

  test(`openai client to ${provider}: the tool runner calls tools until there is an answer`, async () => {
    const cities = [];
    const runner = client.chat.completions.runTools({
      model: model(provider),
      messages: [{ role: "user", content: "What is the weather in Paris and Tokyo?" }],
      stream: true,
      tools: [
        {
          type: "function",
          function: {
            ...weather,
            parse: JSON.parse,
            function: ({ city }) => {
              cities.push(city);
              return `It is sunny in ${city}.`;
            },
          },
        },
      ],
    });
    const text = await runner.finalContent();
    assert.deepEqual(cities, ["Paris", "Tokyo"]);
    assert.match(text, /sunny in Paris/);
    assert.match(text, /sunny in Tokyo/);
  });

  test(`openai client to ${provider}: thinking and tools in a loop of three turns`, throughGateway, async () => {
    const messages = [];
    for (const cities of [["Paris", "Tokyo"], ["Lisbon"], ["Rome"]]) {
      messages.push({ role: "user", content: `What is the weather in ${cities.join(" and ")}?` });
      const asked = { model: model(provider), messages, tools, reasoning_effort: "low" };
      const first = (await client.chat.completions.create(asked)).choices[0];
      assert.equal(first.finish_reason, "tool_calls");
      messages.push(first.message);
      for (const call of first.message.tool_calls) {
        const { city } = JSON.parse(call.function.arguments);
        messages.push({ role: "tool", tool_call_id: call.id, content: `It is sunny in ${city}.` });
      }
      const last = (await client.chat.completions.create(asked)).choices[0];
      assert.equal(last.finish_reason, "stop");
      for (const city of cities) assert.match(last.message.content, new RegExp(`sunny in ${city}`));
      messages.push(last.message);
    }
  });

  test(`openai client to ${provider}: a forced tool is called`, async () => {
    const whole = await client.chat.completions.create({
      model: model(provider),
      messages: question,
      tools,
      tool_choice: { type: "function", function: { name: weather.name } },
    });
    assert.deepEqual(whole.choices[0].message.tool_calls.map((call) => call.function.name), [weather.name]);
  });

  test(`openai client to ${provider}: an error within a stream is thrown`, async () => {
    const stream = await client.chat.completions.create({
      model: model(provider, "error_after=3"),
      messages: question,
      stream: true,
    });
    await assert.rejects(collect(stream), OpenAI.APIError);
  });

  test(`openai client to ${provider}: a rate limit of the provider is 429 with its hint`, async () => {
    const asked = { model: model(provider, "status=429,retry_after=30"), messages: question };
    await assert.rejects(client.chat.completions.create(asked), (error) => {
      assert.ok(error instanceof OpenAI.RateLimitError);
      assert.equal(error.headers.get("retry-after"), "30");
      return true;
    });
  });

  test(`openai client to ${provider}: an error is retried by the gateway alone`, throughGateway, async () => {
    const book = await ledger();
    const patient = new OpenAI({ baseURL: `${repeating}/v1`, apiKey: "sk-of-the-client", maxRetries: 5 });
    const asked = { model: model(provider, "status=500"), messages: question };
    await assert.rejects(patient.chat.completions.create(asked), OpenAI.InternalServerError);
    const attempts = (await book.calls()).length;
    assert.ok(attempts >= 2 && attempts <= 3, `${attempts} attempts`);
  });

  test(`openai client to ${provider}: breaking out of a stream ends it at the provider`, async () => {
    const book = await ledger();
    const stream = await client.chat.completions.create({ model: model(provider, slow), messages: question, stream: true });
    for await (const chunk of stream) if (textOf([chunk])) break;
    assert.ok(await book.within(1000, peerClosed));
  });

  test(`openai client to ${provider}: giving up ends the call at the provider`, async () => {
    const book = await ledger();
    const asked = { model: model(provider, "stall"), messages: question };
    await assert.rejects(client.chat.completions.create(asked, { timeout: 300 }), OpenAI.APIConnectionTimeoutError);
    assert.ok(await book.within(1000, peerClosed));
  });
}

test("openai client: an unknown model is 404", throughGateway, async () => {
  const asked = { model: "no-such-model-anywhere", messages: question };
  await assert.rejects(client.chat.completions.create(asked), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "gateway_model_not_found");
    return true;
  });
});

test("openai client: models are listed", throughGateway, async () => {
  const ids = [];
  for await (const listed of client.models.list()) ids.push(listed.id);
  assert.ok(ids.some((id) => id.startsWith("openai/")) && ids.some((id) => id.startsWith("anthropic/")));
});
