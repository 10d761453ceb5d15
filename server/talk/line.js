// One call: the Realtime API over a WebSocket. It knows events and audio, and nothing of what is shown.

const AUDIO = { type: "audio/pcm", rate: 24_000 };
const CALL_LIVES = 1000; // the close code of a call that ended in order

export class Line {
  #socket;
  #opened;

  // `place` is what POST /talk/token answered, `choices` are the person's. `on` has event(event), for each event of the
  // server's, and closed(reason): why in the node's words, "" if the call was ended in order, null if nobody knows.
  constructor(place, choices, on) {
    const subprotocols = ["realtime", ...(place.token ? [`openai-insecure-api-key.${place.token}`] : [])];
    this.#socket = new WebSocket(place.url, subprotocols);
    this.#socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "session.created") {
        this.choose(choices);
        this.#opened = true;
      }
      on.event(event);
    };
    this.#socket.onclose = ({ code, reason }) => on.closed(reason || (code === CALL_LIVES ? "" : null));
  }

  // Take the choices, in the middle of a call too.
  choose({ eagerness, voice, speculation }) {
    this.send("session.update", {
      session: {
        type: "realtime",
        audio: {
          input: { format: AUDIO, transcription: {}, turn_detection: { type: "semantic_vad", eagerness } },
          output: { format: AUDIO, voice: voice || null },
        },
        x_speculation: speculation,
        x_turn_timings: true,
        x_turn_decisions: true,
        x_session_expiring: true,
      },
    });
  }

  // 20 ms of the microphone.
  hear(pcm) {
    if (this.#opened) this.send("input_audio_buffer.append", { audio: btoa(String.fromCharCode(...new Uint8Array(pcm))) });
  }

  // Of the spoken item only so much was heard; the node is asked what of its text that is.
  heard(item, ms) {
    this.send("conversation.item.truncate", { item_id: item, content_index: 0, audio_end_ms: ms });
    this.send("conversation.item.retrieve", { item_id: item });
  }

  send(type, fields) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type, ...fields }));
  }

  hangUp() {
    this.#socket.close(1000);
  }
}

// The audio of an event as samples.
export function samplesOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Int16Array(bytes.buffer, 0, bytes.length >> 1);
}
