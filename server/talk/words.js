// What the node's names mean, in words for a person.

const ENDED = {
  finished: "it sounded and read finished",
  unsure: "it might have gone on",
  unfinished: "it sounded unfinished, so the wait was long",
  spelling: "something was being spelled out, so the wait was long",
  no_words: "no word was understood",
  unjudged: "its words were not known in time, or not its sound",
  silence: "that much silence ends a turn",
  committed: "it was ended by hand",
  audio_gone: "no more sound came",
};

const JUDGED = {
  interruption: "an interruption, so the answer stops",
  backchannel: "listening along, so the answer goes on",
  echo: "the answer's own echo, which is ignored",
  noise: "noise, which is ignored",
  turn: "the next turn, as the answer was over",
  false: "no interruption after all, so the answer goes on",
};

const FAILED = {
  full: "The node has no room for another call now.",
  draining: "The node is being taken out of service.",
  idle: "Nobody spoke for a long time, so the node ended the call.",
  longest_call: "The call has reached its longest time.",
  credential_expired: "Your token has expired.",
  credential_revoked: "Your key is no longer accepted.",
};

const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

// What turn-taking decided, and why.
export function decisionInWords(event) {
  if (event.decision !== "turn_ended") {
    const length = event.voiced_ms ? `${seconds(event.voiced_ms)} of voice` : "Voice";
    return `${length}: ${JUDGED[event.decision] ?? event.decision}`;
  }
  const facts = [ENDED[event.reason] ?? event.reason];
  if (event.sounds_finished !== null) facts.push(`sound ${Math.round(100 * event.sounds_finished)} % finished`);
  if (event.fall_db >= 1) facts.push(`last syllable ${Math.round(event.fall_db)} dB softer`);
  if (event.longest_pause_ms >= 200) facts.push(`longest pause before ${seconds(event.longest_pause_ms)}`);
  return `Turn over after ${seconds(event.silence_ms)} of silence: ${facts.join("; ")}`;
}

// Why a call ended, or could not begin.
export const reasonInWords = (reason) => FAILED[reason] ?? `The call ended: ${reason}.`;

// Why there is no microphone.
export function microphoneInWords(error) {
  if (error.name === "NotAllowedError") return "Your browser was not allowed to use the microphone. Allow it for this page, then try again.";
  if (error.name === "NotFoundError") return "Your browser finds no microphone.";
  return `The microphone can't be used: ${error.message}`;
}
