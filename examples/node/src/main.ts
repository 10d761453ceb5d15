// Says a WAV file into a call and saves what the caller heard as another one, in real time, as a telephone would.
import { setTimeout as sleep } from "node:timers/promises";
import { FRAME_MS, VoiceCall } from "./call.js";
import { readWav, writeWav } from "./wav.js";

const HANG_UP_AFTER_MS = 3000; // of silence on both sides

const [url, spokenPath, heardPath] = process.argv.slice(2);
if (!url || !spokenPath || !heardPath) throw new Error("usage: npm start -- URL SPOKEN.wav HEARD.wav");

const { rate, pcm } = readWav(spokenPath);
const frameBytes = (2 * rate * FRAME_MS) / 1000;
const apiKey = process.env["VOICEFLEET_KEY"];
const call = await VoiceCall.connect({ url, rate, ...(apiKey && { apiKey }) });

let open = true;
call.on("heard", (text) => console.log(`caller:    ${text}`));
call.on("answered", (text, status) => console.log(`assistant: ${text} (${status})`));
call.on("error", (error) => console.error(`error:     ${error.message}`));
call.on("ended", (code) => {
  if (open) console.error(`the node hung up with code ${code}`);
  process.exitCode = open ? 1 : 0;
  open = false;
});

const heard: Buffer[] = [];
const start = performance.now();
for (let frame = 0, silentMs = 0; open && silentMs < HANG_UP_AFTER_MS; frame++) {
  const spoken = Buffer.alloc(frameBytes);
  const speaking = pcm.subarray(frame * frameBytes).copy(spoken) > 0 || call.speaking;
  silentMs = speaking ? 0 : silentMs + FRAME_MS;
  heard.push(call.exchange(spoken));
  await sleep(start + (frame + 1) * FRAME_MS - performance.now());
}
open = false;
call.hangUp();
writeWav(heardPath, rate, Buffer.concat(heard));
