// The microphone as the node wants it: 20 ms frames of 16-bit mono PCM at 24 kHz, each with its loudness.
//
// The context runs at the device's own rate, because Firefox takes no microphone into a context of another
// (https://bugzilla.mozilla.org/show_bug.cgi?id=1674892). So the samples are converted here, by a windowed sinc.

const RATE = 24_000;
const FRAME = 480;
const CROSSINGS = 16; // of zero, on each side of the kernel
const FINENESS = 512; // kernel values for each input sample
const PASSBAND = 0.92; // of the lower rate's half; the rest is for the filter's slope

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / RATE; // input samples for each output sample
    const cutoff = PASSBAND / Math.max(1, this.step);
    this.reach = Math.ceil(CROSSINGS / cutoff); // input samples on each side
    this.kernel = Float32Array.from({ length: this.reach * FINENESS + 1 }, (_, index) => {
      const x = index / FINENESS;
      const sinc = x === 0 ? 1 : Math.sin(Math.PI * cutoff * x) / (Math.PI * cutoff * x);
      return cutoff * sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / this.reach));
    });
    this.held = new Float32Array(8192);
    this.count = this.reach; // as if silence came before
    this.at = this.reach; // where in `held` the next output sample lies
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.energy = 0;
  }

  process([[samples = new Float32Array(128)]]) {
    this.held.set(samples, this.count);
    this.count += samples.length;
    while (this.at + this.reach < this.count) {
      this.put(this.sampleAt(this.at));
      this.at += this.step;
    }
    const done = Math.floor(this.at) - this.reach;
    if (done > 4096) {
      this.held.copyWithin(0, done, this.count);
      this.count -= done;
      this.at -= done;
    }
    return true;
  }

  sampleAt(position) {
    let sum = 0;
    for (let index = Math.ceil(position - this.reach); index <= position + this.reach; index++) {
      sum += this.held[index] * this.kernel[Math.round(Math.abs(index - position) * FINENESS)];
    }
    return sum;
  }

  put(sample) {
    this.frame[this.filled++] = Math.round(Math.max(-1, Math.min(1, sample)) * 32767);
    this.energy += sample * sample;
    if (this.filled === FRAME) {
      const pcm = this.frame.slice().buffer;
      this.port.postMessage({ pcm, loudness: Math.sqrt(this.energy / FRAME) }, [pcm]);
      this.filled = this.energy = 0;
    }
  }
}

registerProcessor("capture", Capture);
