// npm `@openai/agents-realtime` on the line: a function call, a story that is interrupted, and the answer after it.
import { setTimeout as sleep } from "node:timers/promises";
import { RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";
import { z } from "zod";
import { Loudspeaker, Microphone, tell } from "./line.mjs";

const [url, weather, story, name] = process.argv.slice(2);
const getWeather = tool({
  name: "get_weather",
  description: "The weather in a city.",
  parameters: z.object({ city: z.string() }),
  execute: async (given) => {
    tell("called", { name: "get_weather", arguments: given });
    return "18 degrees";
  },
});
const agent = new RealtimeAgent({ name: "Desk", instructions: "Be brief.", tools: [getWeather] });
const session = new RealtimeSession(agent, { transport: "websocket", model: "voicefleet" });
const loudspeaker = new Loudspeaker();
const next = (type) => new Promise((resolve) => session.transport.once(type, resolve));

session.on("error", ({ error }) => {
  tell("error", { message: JSON.stringify(error) });
  process.exit(1);
});
session.on("audio", ({ data, responseId }) => loudspeaker.play(responseId, Buffer.from(data)));
session.on("audio_interrupted", () => {
  if (loudspeaker.unplayedMs() > 0) tell("interrupted", { played_ms: loudspeaker.playedMs() });
  loudspeaker.flush();
});
const transcribed = "conversation.item.input_audio_transcription.completed";
session.transport.on(transcribed, ({ transcript }) => tell("heard", { transcript }));
session.transport.on("conversation.item.truncated", ({ audio_end_ms }) => tell("truncated", { audio_end_ms }));

async function answer() {
  const { response } = await next("response.done");
  const parts = response.output.flatMap((item) => item.content ?? []);
  const transcript = parts.map((part) => part.transcript).join(" ");
  tell("answered", { status: response.status, reason: response.status_details.reason ?? null, transcript });
}

await session.connect({ url, apiKey: process.env.VOICEFLEET_KEY });
const microphone = new Microphone((frame) =>
  session.sendAudio(frame.buffer.slice(frame.byteOffset, frame.byteOffset + frame.byteLength)),
);

microphone.say(weather);
await answer();
await answer();
await sleep(loudspeaker.unplayedMs());

microphone.say(story);
await next("response.output_audio.delta");
await sleep(1000); // of the story is listened to
microphone.say(name);
await answer();
await answer();
await sleep(loudspeaker.unplayedMs());
tell("loudness", { loudest: loudspeaker.loudest });
const texts = (item) => item.content.map((part) => part.transcript ?? part.text).join(" ");
const messages = session.history.filter((item) => item.type === "message");
tell("history", { messages: messages.map((item) => [item.role, texts(item)]) });
microphone.off();
session.close();
