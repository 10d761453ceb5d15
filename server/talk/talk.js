// The talk page: what the person does becomes a call, and what happens on the call is shown.

import { Conversation } from "/talk/conversation.js";
import { Line, samplesOf } from "/talk/line.js";
import { Sound } from "/talk/sound.js";
import { microphoneInWords, reasonInWords } from "/talk/words.js";

const AHEAD = { full: "words and answer", stt: "words", off: "nothing" };
const QUIETEST = -60; // dB below full scale, at which a level is shown as nothing

const $ = (id) => document.getElementById(id);
const conversation = new Conversation($("conversation"), $("news"));
let key = ""; // in memory only
let call = null; // {sound, line} while there is one
let connecting = false;

// --- what the person may do

$("unlock").addEventListener("submit", async (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  $("key").value = "";
  if (await enter()) $("call").focus();
});

$("call").addEventListener("click", () => (call ? call.line.hangUp() : start()));

$("mute").addEventListener("click", () => mute(!isMuted()));

$("choices").addEventListener("change", () => call?.line?.choose(choices()));

function choices() {
  return { eagerness: $("eagerness").value, voice: $("voice").value, speculation: $("speculation").value };
}

// --- being let in

// Where to call and what to show there; null if the node says no, which is told then.
async function askForPlace() {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await fetch("/talk/token", { method: "POST", headers }).catch(() => null);
  if (answer?.ok) return answer.json();
  const told = await answer?.json().catch(() => null);
  const locked = answer?.status === 401;
  $("unlock").hidden = !locked;
  if (locked) showState("Locked");
  if (key || !locked) tellProblem(told?.error ?? "The node does not answer.");
  if (locked) key = "";
  return null;
}

// See whether the person may call, and what there is to choose from.
async function enter() {
  tellProblem("");
  const place = await askForPlace();
  if (!place) return false;
  fill($("speculation"), place.speculation.toReversed().map((level) => [level, AHEAD[level]]));
  fill($("voice"), [["", "the node's own"], ...place.voices.map((name) => [name, name])]);
  $("unlock").hidden = true;
  $("choices").hidden = $("empty").hidden = $("call").disabled = false;
  showState("Ready");
  return true;
}

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
}

// --- the call

async function start() {
  if (connecting) return; // the button stays enabled, as one that is not would lose the focus
  connecting = true;
  tellProblem("");
  showState("Connecting");
  let sound = null;
  try {
    sound = await Sound.open({
      frame(pcm, loudness) {
        if (!call) return;
        showLevel("in", loudness);
        call.line.hear(pcm);
      },
      loudness: (loudness) => call && showLevel("out", loudness),
      lost: () => tellProblem("The microphone is gone."),
      silent() {
        showState("Listening");
        conversation.heard();
      },
    });
  } catch (error) {
    tellProblem(microphoneInWords(error));
  }
  const place = sound && (await askForPlace());
  connecting = false;
  if (!place) {
    sound?.close();
    if ($("unlock").hidden) showState("Ready");
    return;
  }
  conversation.clear();
  const line = new Line(place, choices(), { event: take, closed: (reason) => over(line, reason) });
  call = { sound, line };
  $("call").textContent = "Hang up";
  $("call").classList.add("on");
  mute(isMuted());
  conversation.announce("The call has begun");
}

async function take(event) {
  conversation.take(event);
  $("empty").hidden = true;
  switch (event.type) {
    case "session.created":
      showState("Listening");
      break;
    case "input_audio_buffer.speech_started":
      showState("Hearing you");
      await fallSilent();
      break;
    case "output_audio_buffer.cleared":
      await fallSilent();
      break;
    case "input_audio_buffer.speech_stopped":
      showState("Thinking");
      break;
    case "response.output_audio.delta":
      showState("Speaking");
      call.sound.play(event.item_id, samplesOf(event.delta));
      break;
    case "x_session.expiring":
      tellProblem(`The call ends in ${Math.round(event.seconds_left)} s.`);
      break;
    case "error":
      tellProblem(event.error.message);
      break;
  }
}

// What is not heard any more is dropped, and the node told how much of it was.
async function fallSilent() {
  const { sound, line } = call;
  for (const { item, ms } of await sound.drop()) {
    conversation.cutOff(item, ms);
    line.heard(item, ms);
  }
}

// The call is over, or was never let in; without a `reason` the node is asked whether it takes calls.
async function over(line, reason) {
  if (call?.line !== line) return;
  call.sound.close();
  call = null;
  $("call").textContent = "Start talking";
  $("call").classList.remove("on");
  showLevel("in", 0);
  showLevel("out", 0);
  showState("Ready");
  conversation.announce("The call is over");
  if (reason) tellProblem(reasonInWords(reason));
  if (reason === null) {
    const state = await fetch("/ready").then((answer) => answer.json()).catch(() => ({ reasons: [] }));
    tellProblem(state.reasons.length ? reasonInWords(state.reasons[0]) : "The connection to the node was refused or lost.");
  }
}

// --- what is shown

const isMuted = () => $("mute").getAttribute("aria-pressed") === "true";

function mute(muted) {
  if (call) call.sound.muted = muted;
  $("mute").setAttribute("aria-pressed", muted);
}

function showState(state) {
  if ($("state").textContent !== state) $("state").textContent = state;
}

function showLevel(id, loudness) {
  const part = loudness > 0 ? Math.max(0, Math.min(1, 1 - (20 * Math.log10(loudness)) / QUIETEST)) : 0;
  $(id).firstElementChild.style.transform = `scaleX(${part.toFixed(3)})`;
  $(id).setAttribute("aria-valuenow", Math.round(100 * part));
}

function tellProblem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

if (window.isSecureContext && navigator.mediaDevices) {
  await enter();
} else {
  $("insecure").hidden = false;
  showState("No microphone");
}
