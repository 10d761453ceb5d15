// A call's line to a fleet of nodes: one call, on as many connections as it takes. It calls again when a node is full,
// keeps the newest ticket, moves when a node asks for it, and resumes when a connection is lost; what the caller said and
// no ticket knows is said again. See "Resuming a call" in docs/protocol.md. Copy this file: it knows nothing of the rest
// of the example.
import { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";

const RETRIES = 4;
const LONGEST_RETRY_AFTER_S = 10; // a caller does not wait longer for a place
const HANDSHAKE_MS = 10_000;
const HANG_UP_MS = 2_000; // how long the node may take to close the call in order
const RESUME_MS = 30_000; // no caller listens longer to nothing
const AGAIN_MS = 200;
const MOST_UNSENT = 512; // ten seconds of frames
const PING_MS = 5_000; // a machine that vanishes says nothing: it answers no ping
const UNANNOUNCED_MS = 500; // a node takes about half as long to find out that somebody speaks
const MOST_UNHEARD_MS = 30_000;
const MOST_UNSENT_BYTES = 1 << 20; // a network that takes nothing for so long has lost the connection

export interface LineOptions {
  url: string;
  apiKey?: string;
  bytesPerMs: number; // of the audio that the session's formats have, in and out
  binary?: boolean; // audio as binary messages, both ways; else as base64 in events
}

export type LineEvent = { type: string } & Record<string, unknown>;

interface LineEvents {
  event: [LineEvent]; // all but audio
  audio: [itemId: string, audio: Buffer]; // of an answer, however it came
  resumed: []; // the call goes on on another connection; what was received before is still to be played
  ended: [code: number, reason: string];
}

/** The node's answer to the handshake is not a call. `status` is its HTTP status, the message holds what it said. */
export class CallRefused extends Error {
  constructor(
    readonly status: number,
    body: string,
    readonly retryAfterS: number,
  ) {
    super(`call refused: HTTP ${status}${body && `: ${body}`}`);
  }
}

export class Line extends EventEmitter<LineEvents> {
  readonly #options: LineOptions;
  #socket: WebSocket;
  #ticket = "";
  #between = false; // two connections
  #hungUp = false;
  #unsent: (object | Buffer)[] = [];
  readonly #unheard = new Unheard();
  #spokenId = ""; // of the item that is being spoken: audio that comes is its
  #received: { itemId: string; bytes: number } | undefined; // of the spoken item that came last

  /** Place a call. Fails with `CallRefused` when no node takes it. */
  static async connect(options: LineOptions): Promise<Line> {
    for (let retries = RETRIES; ; retries--) {
      try {
        return new Line(await open(options), options);
      } catch (error) {
        // A full node; the next connection may reach another one behind the load balancer.
        if (!(error instanceof CallRefused) || error.status !== 503 || retries === 0) throw error;
        await sleep(1000 * Math.min(error.retryAfterS, LONGEST_RETRY_AFTER_S));
      }
    }
  }

  private constructor(socket: WebSocket, options: LineOptions) {
    super();
    this.#options = options;
    this.#socket = socket;
    this.#listenTo(socket);
  }

  /** Send an event, or keep it while there is no connection. */
  send(event: object): void {
    this.#send(event);
  }

  /** Send the caller's next audio, or keep it while there is no connection. */
  sendAudio(audio: Buffer): void {
    this.#send(Buffer.from(audio)); // a copy: it may be said again, when the caller has long used its own for something else
  }

  #send(message: object | Buffer): void {
    if (!this.#between && this.#socket.readyState === WebSocket.OPEN) {
      if (this.#socket.bufferedAmount > MOST_UNSENT_BYTES) this.#socket.terminate();
      return this.#put(message);
    }
    this.#unsent.push(message);
    if (this.#unsent.length > MOST_UNSENT) this.#unsent.shift();
  }

  /** End the call; done when the connection is closed. */
  async hangUp(): Promise<void> {
    this.#hungUp = true;
    await close(this.#socket);
  }

  #listenTo(socket: WebSocket): void {
    socket.on("message", (data, isBinary) => {
      if (socket !== this.#socket) return;
      if (isBinary) this.#hear(data as Buffer);
      else this.#receive(JSON.parse(String(data)) as LineEvent);
    });
    socket.on("close", (code, reason) => {
      clearInterval(pinging);
      if (socket === this.#socket) void this.#lost(code, String(reason));
    });
    let answered = true;
    const pinging = setInterval(() => {
      if (!answered) return socket.terminate();
      answered = false;
      socket.ping();
    }, PING_MS);
    socket.on("pong", () => (answered = true));
  }

  #put(message: object | Buffer): void {
    if (!Buffer.isBuffer(message)) return this.#socket.send(JSON.stringify(message));
    const append = () => JSON.stringify({ type: "input_audio_buffer.append", audio: message.toString("base64") });
    const said = this.#options.binary ? message : append();
    this.#unheard.say(said, message.length / this.#options.bytesPerMs);
    this.#socket.send(said);
  }

  #hear(audio: Buffer): void {
    const before = this.#received?.itemId === this.#spokenId ? this.#received.bytes : 0;
    this.#received = { itemId: this.#spokenId, bytes: before + audio.length };
    this.emit("audio", this.#spokenId, audio);
  }

  #receive(event: LineEvent): void {
    this.#unheard.note(event);
    switch (event.type) {
      case "x_session.ticket":
        this.#ticket = String(event["ticket"]);
        return;
      case "x_session.move":
        this.#ticket = String(event["ticket"]);
        void this.#move();
        return;
      case "response.content_part.added":
        if ((event["part"] as LineEvent).type === "audio") this.#spokenId = String(event["item_id"]);
        break;
      case "response.output_audio.delta":
        return this.#hear(Buffer.from(String(event["delta"]), "base64"));
      case "conversation.item.truncated": {
        const bytes = Number(event["audio_end_ms"]) * this.#options.bytesPerMs;
        if (this.#received?.itemId === event["item_id"]) this.#received = { itemId: String(event["item_id"]), bytes };
        break;
      }
      case "error":
        // The ticket is refused, and would be again: the call is over.
        if (String((event["error"] as LineEvent)["code"]).startsWith("ticket_")) void this.hangUp();
    }
    this.emit("event", event);
  }

  /** To another node; where none takes the call at once, it stays until it is asked again. */
  async #move(): Promise<void> {
    const old = this.#socket;
    this.#between = true;
    for (let retries = RETRIES; retries >= 0; retries--) {
      try {
        await this.#goOn();
        return await close(old);
      } catch {
        // another connection may reach another node
      }
    }
    this.#between = false;
    if (old.readyState === WebSocket.OPEN) this.#flush();
    else await this.#lost(1006, "the node went out of service");
  }

  async #lost(code: number, reason: string): Promise<void> {
    if (this.#between) return; // who moves or resumes finds out
    this.#between = true;
    const until = performance.now() + RESUME_MS;
    while (!this.#hungUp && this.#ticket && code !== 1000 && performance.now() < until) {
      try {
        return await this.#goOn();
      } catch {
        await sleep(AGAIN_MS * (1 + Math.random())); // a whole node's calls come at once
      }
    }
    this.emit("ended", code, reason);
  }

  async #goOn(): Promise<void> {
    const socket = await open(this.#options);
    // What was received is played, whatever becomes of the connection that it came over.
    const { itemId, bytes } = this.#received ?? {};
    const played = itemId && { item_id: itemId, audio_end_ms: Math.round((bytes ?? 0) / this.#options.bytesPerMs) };
    socket.send(JSON.stringify({ type: "x_session.resume", ticket: this.#ticket, ...(played && { played }) }));
    this.#socket = socket;
    this.#listenTo(socket);
    for (const message of this.#unheard.again()) socket.send(message);
    this.#flush();
    this.emit("resumed");
  }

  #flush(): void {
    this.#between = false;
    for (const message of this.#unsent.splice(0)) this.#put(message);
  }
}

/**
 * What the caller has said since the beginning of the first turn whose words no ticket knows; without one, in the last
 * half second. Words are known from their transcription: in a session without, it is the last half second always.
 * Milliseconds are of the audio sent on the present connection, as the node's events count them.
 */
class Unheard {
  #messages: { message: string | Buffer; ms: number }[] = [];
  #forgotten = 0; // from the beginning
  #sent = 0;
  #tellsWords = false;
  #begun: number[] = []; // turns whose words are not known
  #ended = 0; // the last turn that did
  #known = 0; // by the next ticket

  /** A message with so much audio is sent. */
  say(message: string | Buffer, ms: number): void {
    this.#messages.push({ message, ms });
    this.#sent += ms;
    this.#forget(Math.max(this.#sent - MOST_UNHEARD_MS, Math.min(this.#sent - UNANNOUNCED_MS, ...this.#begun)));
  }

  /** An event of the node's. */
  note(event: LineEvent): void {
    switch (event.type) {
      case "session.updated": {
        const { audio } = event["session"] as { audio?: { input?: { transcription?: object | null } } };
        this.#tellsWords = Boolean(audio?.input?.transcription);
        break;
      }
      case "input_audio_buffer.speech_started":
        if (this.#tellsWords) this.#begun.push(Number(event["audio_start_ms"]));
        break;
      case "input_audio_buffer.speech_stopped":
        this.#ended = Number(event["audio_end_ms"]);
        break;
      case "conversation.item.input_audio_transcription.completed":
      case "conversation.item.input_audio_transcription.failed":
        this.#known = this.#ended;
        this.#begun = this.#begun.filter((begun) => begun >= this.#known);
        break;
      case "x_session.ticket":
      case "x_session.move":
        this.#forget(this.#known);
    }
  }

  /** The messages to begin another connection with. */
  again(): (string | Buffer)[] {
    this.#begun = this.#begun.length > 0 ? [0] : [];
    this.#sent -= this.#forgotten;
    this.#forgotten = this.#ended = this.#known = 0;
    return this.#messages.map(({ message }) => message);
  }

  #forget(until: number): void {
    while (this.#messages[0] && this.#forgotten + this.#messages[0].ms <= until) {
      this.#forgotten += this.#messages[0].ms;
      this.#messages.shift();
    }
  }
}

async function close(socket: WebSocket): Promise<void> {
  if (socket.readyState === WebSocket.CLOSED) return;
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const impatience = setTimeout(() => socket.terminate(), HANG_UP_MS);
  socket.close(1000);
  await closed;
  clearTimeout(impatience);
}

/** An open connection, or `CallRefused`. */
async function open({ url, apiKey, binary }: LineOptions): Promise<WebSocket> {
  const headers = apiKey ? { Authorization: `Bearer ${apiKey}` } : {};
  const address = new URL(url);
  if (binary) address.searchParams.set("audio", "binary");
  const socket = new WebSocket(address, { headers, perMessageDeflate: false, handshakeTimeout: HANDSHAKE_MS });
  const refusal = await new Promise<IncomingMessage | null>((resolve, reject) => {
    socket.once("open", () => resolve(null));
    socket.once("unexpected-response", (_request, response) => resolve(response));
    socket.on("error", reject); // after the promise is settled, `close` says all there is to know
  });
  if (!refusal) return socket;
  const body = (await text(refusal)).trim();
  socket.terminate();
  throw new CallRefused(refusal.statusCode ?? 0, body, Number(refusal.headers["retry-after"]) || 1);
}
