// npm `openai` on the line: a function call, a story that is interrupted, and the answer to the interruption.
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";
import { OpenAIRealtimeWebSocket } from "openai/realtime/websocket";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { Loudspeaker, Microphone, tell } from "./line.mjs";

const [transport, baseURL, weather, story, name] = process.argv.slice(2);
const client = new OpenAI({ apiKey: process.env.VOICEFLEET_KEY, baseURL });
const call =
  transport === "ws"
    ? new OpenAIRealtimeWS({ model: "voicefleet" }, client)
    : new OpenAIRealtimeWebSocket({ model: "voicefleet", dangerouslyAllowBrowser: true }, client);
const next = (type) => new Promise((resolve) => call.once(type, resolve));

const getWeather = {
  type: "function",
  name: "get_weather",
  description: "The weather in a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const audio = { input: { transcription: { model: "gpt-4o-mini-transcribe" }, turn_detection: { type: "server_vad" } } };

const loudspeaker = new Loudspeaker();
call.on("error", (error) => {
  tell("error", { message: error.message });
  process.exit(1);
});
call.on("conversation.item.input_audio_transcription.completed", ({ transcript }) => tell("heard", { transcript }));
call.on("response.output_audio.delta", ({ item_id, delta }) => loudspeaker.play(item_id, Buffer.from(delta, "base64")));
call.on("input_audio_buffer.speech_started", () => {
  if (loudspeaker.unplayedMs() === 0) return;
  const heard = { item_id: loudspeaker.itemId, content_index: 0, audio_end_ms: loudspeaker.playedMs() };
  loudspeaker.flush();
  call.send({ type: "conversation.item.truncate", ...heard });
});
call.on("conversation.item.truncated", ({ audio_end_ms }) => tell("truncated", { audio_end_ms }));

async function answer() {
  const { response } = await next("response.done");
  const parts = response.output.flatMap((item) => item.content ?? []);
  const transcript = parts.map((part) => part.transcript).join(" ");
  tell("answered", { status: response.status, reason: response.status_details.reason ?? null, transcript });
  return response;
}

await next("session.created");
call.send({ type: "session.update", session: { type: "realtime", tools: [getWeather], audio } });
await next("session.updated");
const microphone = new Microphone((frame) =>
  call.send({ type: "input_audio_buffer.append", audio: frame.toString("base64") }),
);

microphone.say(weather);
const { name: called, call_id, arguments: json } = (await answer()).output[0];
tell("called", { name: called, arguments: JSON.parse(json) });
call.send({ type: "conversation.item.create", item: { type: "function_call_output", call_id, output: "18 degrees" } });
call.send({ type: "response.create" });
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
microphone.off();
call.close();
