// What the node says, in the order in which it came, with an account of how much of each item has been played.
//
// In:  {item, samples}  more audio of an item, as floats at the context's rate
//      "drop"           play nothing of what is held; answered with {dropped: [{item, ms}]}: the items that were not
//                       heard to their end, and how much of each was
// Out: {loudness}       twenty times a second while something is played
//      {silent: true}   all that came has been played

const REPORT = Math.round(sampleRate / 20);
const FADE = 0.95; // a sample, so that what is cut off does not click

class Play extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = [];
    this.offset = 0; // in the first of the queue
    this.item = null; // that was played last
    this.played = 0; // samples of it
    this.last = 0;
    this.energy = this.counted = 0;
    this.port.onmessage = ({ data }) => (data === "drop" ? this.drop() : this.queue.push(data));
  }

  drop() {
    const unheard = new Set(this.queue.map(({ item }) => item));
    const dropped = [...unheard].map((item) => {
      return { item, ms: item === this.item ? Math.floor((this.played * 1000) / sampleRate) : 0 };
    });
    this.queue = [];
    this.offset = 0;
    this.port.postMessage({ dropped });
  }

  process(_, [[output]]) {
    const silentBefore = this.queue.length === 0;
    for (let index = 0; index < output.length; index++) {
      this.last = output[index] = this.queue.length ? this.next() : this.last * FADE;
      this.energy += output[index] ** 2;
    }
    this.counted += output.length;
    const ended = !silentBefore && this.queue.length === 0;
    if (ended || (this.counted >= REPORT && this.energy > 0)) {
      this.port.postMessage({ loudness: Math.sqrt(this.energy / this.counted), silent: ended });
    }
    if (ended || this.counted >= REPORT) this.energy = this.counted = 0;
    return true;
  }

  next() {
    const { item, samples } = this.queue[0];
    if (item !== this.item) {
      this.item = item;
      this.played = 0;
    }
    this.played += 1;
    const sample = samples[this.offset++];
    if (this.offset === samples.length) {
      this.queue.shift();
      this.offset = 0;
    }
    return sample;
  }
}

registerProcessor("play", Play);
