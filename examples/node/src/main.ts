// Says a WAV file into a call and saves what the caller heard as another one, in real time, as a telephone would.
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { FRAME_MS, VoiceCall } from "./call.js";
import { readWav, writeWav } from "./wav.js";

const HANG_UP_AFTER_MS = 3_000; // of silence on both sides, once what was heard has been answered
const GIVE_UP_AFTER_MS = 15_000; // of silence without an answer

async function main(url: string, spokenPath: string, heardPath: string, binary: boolean): Promise<void> {
  const { rate, pcm } = readWav(spokenPath);
  const frameBytes = (2 * rate * FRAME_MS) / 1000;
  const apiKey = process.env["VOICEFLEET_KEY"];
  const call = await VoiceCall.connect({ url, rate, binary, ...(apiKey && { apiKey }) });

  let open = true;
  let waiting = true; // for an answer
  process.once("SIGINT", () => (open = waiting = false)); // Ctrl-C hangs up, and what was heard is saved
  call.on("heard", (text) => {
    waiting = true;
    console.log(`caller:    ${text}`);
  });
  call.on("answered", ({ text, status, reason }) => {
    waiting = false;
    console.log(`assistant: ${text} (${status}${reason && status !== "cancelled" ? `, ${reason}` : ""})`);
    if (status === "failed") process.exitCode = 1;
  });
  call.on("refused", (message) => console.error(`refused:   ${message}`));
  call.on("resumed", () => console.log("the call goes on on another connection"));
  call.on("ended", (code, reason) => {
    if (!open) return;
    console.error(`the node hung up with code ${code} ${reason}`);
    process.exitCode = 1;
    open = false;
  });

  const heard: Buffer[] = [];
  const start = performance.now();
  for (let frame = 0, silentMs = 0; open && silentMs < (waiting ? GIVE_UP_AFTER_MS : HANG_UP_AFTER_MS); frame++) {
    const spoken = Buffer.alloc(frameBytes); // silence, once everything is said: a telephone line never stops
    const speaking = pcm.subarray(frame * frameBytes).copy(spoken) > 0 || call.speaking;
    silentMs = speaking ? 0 : silentMs + FRAME_MS;
    heard.push(call.exchange(spoken));
    await sleep(Math.max(0, start + (frame + 1) * FRAME_MS - performance.now()));
  }
  open = false;
  await call.hangUp();
  writeWav(heardPath, rate, Buffer.concat(heard));
  if (waiting) {
    console.error("the node gave no answer");
    process.exitCode = 1;
  }
}

try {
  const { positionals, values } = parseArgs({ allowPositionals: true, options: { binary: { type: "boolean" } } });
  const [url, spoken, heard] = positionals;
  if (!url || !spoken || !heard) throw new Error("usage: npm start -- URL SPOKEN.wav HEARD.wav [--binary]");
  await main(url, spoken, heard, values.binary ?? false);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
