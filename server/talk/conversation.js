// The conversation as it is shown: who said what, what turn-taking thought, how long each answer took.

import { waterfall } from "/talk/waterfall.js";
import { decisionInWords } from "/talk/words.js";

const TRANSCRIPTION = "conversation.item.input_audio_transcription";

export class Conversation {
  #list;
  #news;
  #said = new Map(); // what the caller says, by its item
  #answers = new Map(); // by response, and by each of their items
  #turn; // the caller's latest

  // `list` is shown; `news` is what a screen reader says.
  constructor(list, news) {
    this.#list = list;
    this.#news = news;
  }

  clear() {
    this.#list.replaceChildren();
    this.#news.replaceChildren();
    this.#said.clear();
    this.#answers.clear();
  }

  // An event of the server's.
  take(event) {
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        this.#turn = this.#caller(event.item_id);
        break;
      case "x_turn.decided":
        this.#decided(event);
        break;
      case `${TRANSCRIPTION}.delta`:
        this.#caller(event.item_id).words.append(event.delta);
        break;
      case `${TRANSCRIPTION}.completed`:
        this.#callerSaid(event.item_id, event.transcript);
        break;
      case `${TRANSCRIPTION}.failed`:
        this.#callerSaid(event.item_id, "");
        break;
      case "response.created":
        this.#answers.set(event.response.id, this.#entry("answer", "Answer"));
        break;
      case "response.output_item.added":
        this.#answers.set(event.item.id, this.#answers.get(event.response_id));
        break;
      case "response.output_audio_transcript.delta":
        this.#answers.get(event.response_id).words.append(event.delta);
        this.#reveal();
        break;
      case "x_turn.timings":
        this.#timed(this.#answers.get(event.response_id), event.stages_ms);
        break;
      case "conversation.item.retrieved":
        this.#keepHeard(this.#answers.get(event.item.id), event.item.content[0].transcript);
        break;
      case "response.done":
        this.#answered(event.response);
        break;
    }
  }

  // The answer that the item is of was cut off after so many milliseconds.
  cutOff(item, ms) {
    const answer = this.#answers.get(item);
    if (answer) answer.note.textContent = `Interrupted after ${(ms / 1000).toFixed(1)} s`;
  }

  // The caller has heard all that came: now a screen reader does not speak over it.
  heard() {
    const last = this.#list.querySelector(".answer:last-of-type .words");
    if (last && !last.classList.contains("open")) this.announce(`Answer: ${last.textContent}`);
  }

  // Have a screen reader say it.
  announce(text) {
    this.#news.append(Object.assign(document.createElement("p"), { textContent: text }));
  }

  #caller(item) {
    if (!this.#said.has(item)) this.#said.set(item, this.#entry("you", "You"));
    return this.#said.get(item);
  }

  #callerSaid(item, transcript) {
    const entry = this.#caller(item);
    entry.words.textContent = transcript || "(nothing that was understood)";
    entry.words.classList.remove("open");
    if (transcript) this.announce(`You: ${transcript}`);
    this.#reveal();
  }

  #decided(event) {
    const text = decisionInWords(event);
    if (event.decision === "turn_ended" && this.#turn) this.#turn.why.textContent = text;
    else this.#entry("aside").words.textContent = text;
    this.#reveal();
  }

  #timed(answer, stages) {
    const caption = document.createElement("figcaption");
    caption.textContent = "How long after your last word";
    answer.figure.replaceChildren(caption, waterfall(stages));
    answer.figure.hidden = false;
    this.#reveal();
  }

  #answered({ id, status, status_details: details }) {
    const answer = this.#answers.get(id);
    answer.words.classList.remove("open");
    if (status === "failed") answer.note.textContent = `Failed: ${details.error?.code}`;
    else if (!answer.words.textContent) answer.entry.remove(); // the caller went on before it began
    else if (details?.reason === "turn_detected") answer.note.textContent ||= "Interrupted";
  }

  // Of an answer that was cut off the node remembers what was heard; the rest is struck out.
  #keepHeard(answer, heard) {
    const all = answer.words.textContent;
    if (!all.startsWith(heard) || all === heard) return;
    const rest = document.createElement("del");
    rest.textContent = all.slice(heard.length);
    answer.words.replaceChildren(heard, rest);
  }

  #entry(kind, who) {
    const entry = document.createElement("li");
    entry.className = kind;
    const parts = { entry };
    if (who) entry.append(Object.assign(document.createElement("h3"), { textContent: who }));
    for (const [name, tag] of [["words", "p"], ["why", "p"], ["note", "p"], ["figure", "figure"]]) {
      parts[name] = document.createElement(tag);
      parts[name].className = name;
      entry.append(parts[name]);
    }
    parts.figure.hidden = true;
    parts.words.classList.toggle("open", Boolean(who));
    this.#list.append(entry);
    this.#reveal();
    return parts;
  }

  // Keep the newest in sight of who has not scrolled away from it.
  #reveal() {
    const page = document.documentElement;
    if (page.scrollHeight - page.scrollTop - page.clientHeight < 400) this.#list.lastElementChild?.scrollIntoView({ block: "nearest" });
  }
}
