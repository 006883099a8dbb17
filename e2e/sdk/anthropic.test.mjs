// The official Anthropic client for JavaScript, in front of either provider.

import assert from "node:assert/strict";
import { test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";

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

const client = new Anthropic({ baseURL: gateway, apiKey: "sk-of-the-client", maxRetries: 0, timeout: 10_000 });
const tools = [{ name: weather.name, description: weather.description, input_schema: weather.parameters }];

const ask = (provider, fault, more = {}) => ({ model: model(provider, fault), messages: question, max_tokens: 200, ...more });
const textOf = (message) => message.content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("");
const input = (usage) => usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0);

for (const provider of providers("anthropic")) {
  test(`anthropic client to ${provider}: whole`, async () => {
    const whole = await client.messages.create(ask(provider));
    assert.equal(textOf(whole), answer);
    assert.equal(whole.stop_reason, "end_turn");
    assert.ok(whole.usage.input_tokens > 0 && whole.usage.output_tokens > 0);
  });

  test(`anthropic client to ${provider}: streamed text and usage equal the whole answer`, async () => {
    const whole = await client.messages.create(ask(provider));
    const streamed = await client.messages.stream(ask(provider)).finalMessage();
    assert.equal(textOf(streamed), textOf(whole));
    assert.equal(streamed.stop_reason, whole.stop_reason);
    assert.equal(input(streamed.usage), input(whole.usage));
    assert.equal(streamed.usage.output_tokens, whole.usage.output_tokens);
  });

  test(`anthropic client to ${provider}: tools in a loop of three turns, streamed`, async () => {
    const messages = [];
    const turns = [["Paris", "Tokyo"], ["Lisbon"], ["Rome"]];
    for (const cities of turns) {
      messages.push({ role: "user", content: `What is the weather in ${cities.join(" and ")}?` });
      const first = await client.messages.stream(ask(provider, undefined, { messages, tools })).finalMessage();
      assert.equal(first.stop_reason, "tool_use");
      const uses = first.content.filter((block) => block.type === "tool_use");
      assert.deepEqual(uses.map((use) => use.input.city), cities);
      messages.push({ role: "assistant", content: first.content });
      const result = (use) => ({ type: "tool_result", tool_use_id: use.id, content: `It is sunny in ${use.input.city}.` });
      messages.push({ role: "user", content: uses.map(result) });
      const last = await client.messages.stream(ask(provider, undefined, { messages, tools })).finalMessage();
      assert.equal(last.stop_reason, "end_turn");
      for (const city of cities) assert.match(textOf(last), new RegExp(`sunny in ${city}`));
      messages.push({ role: "assistant", content: last.content });
    }
  });

  test(`anthropic client to ${provider}: tokens are counted`, async () => {
    const counted = await client.messages.countTokens({ model: model(provider), messages: question });
    assert.ok(counted.input_tokens > 4 && counted.input_tokens < 40, `${counted.input_tokens} tokens`);
  });

  test(`anthropic client to ${provider}: an error within a stream is thrown`, async () => {
    await assert.rejects(client.messages.stream(ask(provider, "error_after=3")).finalMessage(), Anthropic.AnthropicError);
  });

  test(`anthropic client to ${provider}: a rate limit of the provider is 429 with its hint`, async () => {
    await assert.rejects(client.messages.create(ask(provider, "status=429,retry_after=30")), (error) => {
      assert.ok(error instanceof Anthropic.RateLimitError);
      assert.equal(error.headers.get("retry-after"), "30");
      return true;
    });
  });

  test(`anthropic client to ${provider}: an error is retried by the gateway alone`, throughGateway, async () => {
    const book = await ledger();
    const patient = new Anthropic({ baseURL: repeating, apiKey: "sk-of-the-client", maxRetries: 5 });
    await assert.rejects(patient.messages.create(ask(provider, "status=500")), Anthropic.InternalServerError);
    const attempts = (await book.calls()).length;
    assert.ok(attempts >= 2 && attempts <= 3, `${attempts} attempts`);
  });

  test(`anthropic client to ${provider}: breaking out of a stream ends it at the provider`, async () => {
    const book = await ledger();
    const stream = await client.messages.create(ask(provider, slow, { stream: true }));
    for await (const event of stream) if (event.type === "content_block_delta") break;
    assert.ok(await book.within(1000, peerClosed));
  });

  test(`anthropic client to ${provider}: giving up ends the call at the provider`, async () => {
    const book = await ledger();
    await assert.rejects(
      client.messages.create(ask(provider, "stall"), { timeout: 300 }),
      Anthropic.APIConnectionTimeoutError,
    );
    assert.ok(await book.within(1000, peerClosed));
  });
}

test("anthropic client: an unknown model is 404", throughGateway, async () => {
  const asked = { model: "no-such-model-anywhere", messages: question, max_tokens: 5 };
  await assert.rejects(client.messages.create(asked), Anthropic.NotFoundError);
});

test("anthropic client: models are listed", throughGateway, async () => {
  const ids = [];
  for await (const listed of client.models.list()) ids.push(listed.id);
  assert.ok(ids.some((id) => id.startsWith("openai/")) && ids.some((id) => id.startsWith("anthropic/")));
});
