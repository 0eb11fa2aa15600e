// The JavaScript `ai` package, by its providers for OpenAI and for compatible servers.
import assert from "node:assert";
import { readFileSync } from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  embedMany, experimental_transcribe as transcribe, generateImage, generateText, Output, stepCountIs,
  streamText, tool,
} from "ai";
import { z } from "zod";

const baseURL = process.env.BASE_URL;
const openai = createOpenAI({ baseURL, apiKey: "any" });
const compatible = createOpenAICompatible({
  name: "quartet", baseURL, apiKey: "any", supportsStructuredOutputs: true, includeUsage: true,
});
const name = "SmolLM2_135M_Instruct";
const models = [compatible(name), openai.chat(name), openai.responses(name)];
const animal = z.object({ name: z.enum(["fox", "owl"]), tags: z.record(z.string(), z.boolean()).optional() });

for (const model of models) {
  const { text, usage } = await generateText({ model, prompt: "Hello", maxOutputTokens: 5 });
  assert(text && usage.outputTokens > 0);

  const stream = streamText({ model, prompt: "Hello", maxOutputTokens: 5 });
  let streamed = "";
  for await (const part of stream.textStream) streamed += part;
  assert(streamed);

  const schema = z.object({ name: z.enum(["fox", "owl"]) });
  const { output } = await generateText({
    model, prompt: "Name an animal.", output: Output.object({ schema }), maxOutputTokens: 100,
  });
  schema.parse(output);

  let calls = 0;
  const weight = tool({
    description: "What an animal weighs", inputSchema: schema, execute: async () => (calls++, "6 kg"),
  });
  await generateText({
    model, prompt: "What does a fox weigh?", tools: { weight }, toolChoice: "required",
    stopWhen: stepCountIs(2), maxOutputTokens: 100,
  });
  assert(calls > 0);
}

// So small a model may spend all tokens on the free name of a tag: what is cut short is asked for again.
const named = async (seed) => (await generateText({
  model: compatible(name), prompt: "Name an animal.", output: Output.object({ schema: animal }), maxOutputTokens: 100, seed,
})).output;
const again = (seed) => (error) => {
  if (seed > 8 || error.finishReason !== "length") throw error;
  return named(seed).catch(again(seed + 1));
};
animal.parse(await named(1).catch(again(2)));

const { embeddings } = await embedMany({ model: openai.embedding("All_MiniLM_L6_v2"), values: ["a", "b"] });
assert.equal(embeddings[1].length, 384);

const { image } = await generateImage({ model: compatible.imageModel("Tiny_Flux"), prompt: "a fox", size: "64x64" });
assert(image.uint8Array.length > 100);

const audio = readFileSync(process.env.RECORDING);
const { text: heard, durationInSeconds } = await transcribe({ model: openai.transcription("Whisper_Base"), audio });
assert(heard);
assert(durationInSeconds > 0);
