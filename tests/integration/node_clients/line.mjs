// What these scripts share: a microphone that never stops, a loudspeaker, and lines of JSON for the test to read.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const FRAME_MS = 20;
const FRAME_BYTES = 960; // 16-bit mono PCM at 24 kHz

export function tell(event, fields = {}) {
  console.log(JSON.stringify({ event, ...fields }));
}

export class Microphone {
  #speech = Buffer.alloc(0);
  #on = true;

  /** `send` takes a frame of 20 ms, from now on and in real time. */
  constructor(send) {
    this.#run(send);
  }

  /** Say a file of raw PCM. */
  say(path) {
    this.#speech = readFileSync(path);
  }

  off() {
    this.#on = false;
  }

  async #run(send) {
    const start = performance.now();
    for (let frames = 1; this.#on; frames++) {
      const frame = Buffer.alloc(FRAME_BYTES);
      this.#speech = this.#speech.subarray(this.#speech.copy(frame));
      send(frame);
      await sleep(Math.max(0, start + frames * FRAME_MS - performance.now()));
    }
  }
}

/** Plays what comes, in time but without sound. */
export class Loudspeaker {
  itemId;
  loudest = 0;
  #receivedMs = 0;
  #endsAt = 0;

  play(itemId, pcm) {
    if (itemId !== this.itemId) this.#receivedMs = 0;
    this.itemId = itemId;
    const ms = pcm.length / 48;
    this.#receivedMs += ms;
    this.#endsAt = Math.max(this.#endsAt, performance.now()) + ms;
    for (let at = 0; at + 1 < pcm.length; at += 2) this.loudest = Math.max(this.loudest, Math.abs(pcm.readInt16LE(at)));
  }

  unplayedMs() {
    return Math.max(0, this.#endsAt - performance.now());
  }

  /** How much of the newest item has been played. */
  playedMs() {
    return Math.round(this.#receivedMs - this.unplayedMs());
  }

  flush() {
    this.#endsAt = 0;
  }
}
