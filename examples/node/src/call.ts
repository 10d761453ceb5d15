// One call to Voicefleet, as an application that bridges the telephone holds it: every 20 ms the caller's frame goes
// in and the frame to be played to them comes out. Frames are 16-bit little-endian mono PCM.
import { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";

export const FRAME_MS = 20;
const RETRIES = 4;
const LONGEST_RETRY_AFTER_S = 10; // a caller does not wait longer for a place
const HANDSHAKE_MS = 10_000;
const HANG_UP_MS = 2_000; // how long the node may take to close the call in order
const MOST_UNSENT_BYTES = 1 << 20; // a network that takes nothing for so long has lost the call

export interface CallOptions {
  url: string;
  apiKey?: string;
  rate: number; // Hz: 8000, 16000, 24000 or 48000
  instructions?: string;
}

export interface Answer {
  text: string;
  status: "completed" | "cancelled" | "incomplete" | "failed"; // cancelled: the caller spoke into it
  reason?: string; // why it is not completed
}

interface CallEvents {
  heard: [text: string]; // what the caller said
  answered: [Answer];
  refused: [message: string]; // the node did not take an event of ours; the call goes on
  ended: [code: number, reason: string];
}

interface Response {
  status: Answer["status"];
  status_details?: { reason?: string; error?: { code: string; message: string } };
  output: { content?: { transcript?: string }[] }[];
}

type ServerEvent =
  | { type: "input_audio_buffer.speech_started" }
  | { type: "conversation.item.input_audio_transcription.completed"; transcript: string }
  | { type: "response.output_audio.delta"; item_id: string; delta: string }
  | { type: "response.done"; response: Response }
  | { type: "error"; error: { message: string } };

interface Spoken {
  itemId: string;
  unplayed: Buffer;
  playedBytes: number;
}

export class VoiceCall extends EventEmitter<CallEvents> {
  readonly #socket: WebSocket;
  readonly #bytesPerMs: number;
  #spoken: Spoken[] = []; // what is being played, and what comes after it

  /** Place a call. Fails with `CallRefused` when the node does not take it. */
  static async connect(options: CallOptions): Promise<VoiceCall> {
    return new VoiceCall(await open(options), options);
  }

  private constructor(socket: WebSocket, { rate, instructions }: CallOptions) {
    super();
    this.#socket = socket;
    this.#bytesPerMs = (2 * rate) / 1000;
    socket.on("message", (data) => this.#receive(JSON.parse(String(data)) as ServerEvent));
    socket.on("close", (code, reason) => this.emit("ended", code, String(reason)));
    const format = { type: "audio/pcm", rate };
    const audio = { input: { format, transcription: {} }, output: { format } };
    this.#send({ type: "session.update", session: { type: "realtime", instructions, audio } });
  }

  /** Whether there is audio that the caller has not heard yet. */
  get speaking(): boolean {
    return this.#spoken.some((item) => item.unplayed.length > 0);
  }

  /** To be called every 20 ms: takes what the caller said, silence included, and gives what to play to them. */
  exchange(frame: Buffer): Buffer {
    this.#send({ type: "input_audio_buffer.append", audio: frame.toString("base64") });
    const played = Buffer.alloc(FRAME_MS * this.#bytesPerMs);
    if (this.#spoken.length > 1 && this.#spoken[0]?.unplayed.length === 0) this.#spoken.shift();
    const item = this.#spoken[0];
    if (item) {
      const size = item.unplayed.copy(played);
      item.unplayed = item.unplayed.subarray(size);
      item.playedBytes += size;
    }
    return played;
  }

  /** End the call; done when the connection is closed. */
  async hangUp(): Promise<void> {
    if (this.#socket.readyState === WebSocket.CLOSED) return;
    const closed = new Promise((resolve) => this.#socket.once("close", resolve));
    const impatience = setTimeout(() => this.#socket.terminate(), HANG_UP_MS);
    this.#socket.close(1000);
    await closed;
    clearTimeout(impatience);
  }

  #receive(event: ServerEvent): void {
    switch (event.type) {
      case "response.output_audio.delta":
        return this.#queue(event.item_id, Buffer.from(event.delta, "base64"));
      case "input_audio_buffer.speech_started":
        return this.#fallSilent();
      case "conversation.item.input_audio_transcription.completed":
        this.emit("heard", event.transcript);
        return;
      case "response.done":
        this.emit("answered", answerOf(event.response));
        return;
      case "error":
        this.emit("refused", event.error.message);
    }
  }

  #queue(itemId: string, audio: Buffer): void {
    const last = this.#spoken.at(-1);
    if (last?.itemId === itemId) last.unplayed = Buffer.concat([last.unplayed, audio]);
    else this.#spoken.push({ itemId, unplayed: audio, playedBytes: 0 });
  }

  /** The caller speaks: drop what they have not heard, and say so, for the model is to remember only what they have. */
  #fallSilent(): void {
    for (const { itemId, unplayed, playedBytes } of this.#spoken.splice(0)) {
      if (unplayed.length === 0) continue;
      const heardMs = Math.round(playedBytes / this.#bytesPerMs);
      this.#send({ type: "conversation.item.truncate", item_id: itemId, content_index: 0, audio_end_ms: heardMs });
    }
  }

  #send(event: object): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > MOST_UNSENT_BYTES) return this.#socket.terminate();
    this.#socket.send(JSON.stringify(event));
  }
}

function answerOf({ status, status_details, output }: Response): Answer {
  const transcripts = output.flatMap((item) => item.content ?? []).map((part) => part.transcript ?? "");
  const { error, reason = error && `${error.code}: ${error.message}` } = status_details ?? {};
  return { text: transcripts.join(" "), status, ...(reason && { reason }) };
}

/** The node's answer to the handshake is not a call. `status` is its HTTP status, the message holds what it said. */
export class CallRefused extends Error {
  constructor(
    readonly status: number,
    body: string,
  ) {
    super(`call refused: HTTP ${status}${body && `: ${body}`}`);
  }
}

/** A full node answers 503; the next connection may reach another one behind the load balancer. */
async function open({ url, apiKey }: CallOptions): Promise<WebSocket> {
  const headers = apiKey ? { Authorization: `Bearer ${apiKey}` } : {};
  for (let retries = RETRIES; ; retries--) {
    const socket = new WebSocket(url, { headers, perMessageDeflate: false, handshakeTimeout: HANDSHAKE_MS });
    const refusal = await new Promise<IncomingMessage | null>((resolve, reject) => {
      socket.once("open", () => resolve(null));
      socket.once("unexpected-response", (_request, response) => resolve(response));
      socket.on("error", reject); // after the promise is settled, `close` says all there is to know
    });
    if (!refusal) return socket;
    const status = refusal.statusCode ?? 0;
    const body = (await text(refusal)).trim();
    socket.terminate();
    if (status !== 503 || retries === 0) throw new CallRefused(status, body);
    await sleep(1000 * Math.min(Number(refusal.headers["retry-after"]) || 1, LONGEST_RETRY_AFTER_S));
  }
}
