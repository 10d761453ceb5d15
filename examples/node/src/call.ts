// One call to Voicefleet, as an application that bridges the telephone holds it: every 20 ms the caller's frame goes
// in and the frame to be played to them comes out. Frames are 16-bit little-endian mono PCM.
import { EventEmitter } from "node:events";
import { Line, type LineEvent } from "./line.js";

export const FRAME_MS = 20;

export interface CallOptions {
  url: string;
  apiKey?: string;
  rate: number; // Hz: 8000, 16000, 24000 or 48000
  binary?: boolean; // audio as binary messages, in place of base64 in events
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
  resumed: []; // the call went on on another connection
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
  | { type: "response.done"; response: Response }
  | { type: "error"; error: { message: string } };

interface Spoken {
  itemId: string;
  unplayed: Buffer;
  playedBytes: number;
}

export class VoiceCall extends EventEmitter<CallEvents> {
  readonly #line: Line;
  readonly #bytesPerMs: number;
  #spoken: Spoken[] = []; // what is being played, and what comes after it

  /** Place a call. Fails with `CallRefused` when no node takes it. */
  static async connect(options: CallOptions): Promise<VoiceCall> {
    const line = await Line.connect({ ...options, bytesPerMs: (2 * options.rate) / 1000 });
    return new VoiceCall(line, options);
  }

  private constructor(line: Line, { rate, instructions }: CallOptions) {
    super();
    this.#line = line;
    this.#bytesPerMs = (2 * rate) / 1000;
    line.on("event", (event: LineEvent) => this.#receive(event as ServerEvent));
    line.on("audio", (itemId, audio) => this.#queue(itemId, audio));
    line.on("resumed", () => this.emit("resumed"));
    line.on("ended", (code, reason) => this.emit("ended", code, reason));
    const format = { type: "audio/pcm", rate };
    const audio = { input: { format, transcription: {} }, output: { format } };
    line.send({ type: "session.update", session: { type: "realtime", instructions, audio, x_resume: true } });
  }

  /** Whether there is audio that the caller has not heard yet. */
  get speaking(): boolean {
    return this.#spoken.some((item) => item.unplayed.length > 0);
  }

  /** To be called every 20 ms: takes what the caller said, silence included, and gives what to play to them. */
  exchange(frame: Buffer): Buffer {
    this.#line.sendAudio(frame);
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
  hangUp(): Promise<void> {
    return this.#line.hangUp();
  }

  #receive(event: ServerEvent): void {
    switch (event.type) {
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
      this.#line.send({ type: "conversation.item.truncate", item_id: itemId, content_index: 0, audio_end_ms: heardMs });
    }
  }
}

function answerOf({ status, status_details, output }: Response): Answer {
  const transcripts = output.flatMap((item) => item.content ?? []).map((part) => part.transcript ?? "");
  const { error, reason = error && `${error.code}: ${error.message}` } = status_details ?? {};
  return { text: transcripts.join(" "), status, ...(reason && { reason }) };
}
