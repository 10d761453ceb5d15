// The microphone and the loudspeaker. Echo, noise and level are the browser's to mend: it knows both sides.

const RATE = 24_000; // of what is played; every browser converts that to the device's own rate

export class Sound {
  // Opens both; asks for leave to use the microphone. To be called from a click.
  // `on` has frame(pcm, loudness) of the microphone and lost(), and loudness(value) of what is played and silent().
  static async open(on) {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
    const sound = new Sound(stream, new AudioContext(), new AudioContext({ sampleRate: RATE }));
    await sound.#connect(on);
    return sound;
  }

  #stream;
  #ear;
  #mouth;
  #player;
  #dropped = [];

  constructor(stream, ear, mouth) {
    this.#stream = stream;
    this.#ear = ear;
    this.#mouth = mouth;
  }

  async #connect(on) {
    await Promise.all([
      this.#ear.audioWorklet.addModule("/talk/capture.worklet.js"),
      this.#mouth.audioWorklet.addModule("/talk/play.worklet.js"),
      this.#ear.resume(),
      this.#mouth.resume(),
    ]);
    for (const track of this.#stream.getAudioTracks()) track.onended = on.lost;
    const capture = new AudioWorkletNode(this.#ear, "capture", { channelCount: 1, channelCountMode: "explicit" });
    capture.port.onmessage = ({ data }) => on.frame(data.pcm, data.loudness);
    // It gives silence. Without a way to the loudspeaker some browsers never run it.
    this.#ear.createMediaStreamSource(this.#stream).connect(capture).connect(this.#ear.destination);

    this.#player = new AudioWorkletNode(this.#mouth, "play", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#player.port.onmessage = ({ data }) => {
      if (data.dropped) this.#dropped.shift()(data.dropped);
      else {
        on.loudness(data.silent ? 0 : data.loudness);
        if (data.silent) on.silent();
      }
    };
    this.#player.connect(this.#mouth.destination);
  }

  // More audio of an item: 16-bit PCM at 24 kHz.
  play(item, pcm) {
    if (!pcm.length) return;
    const samples = Float32Array.from(pcm, (sample) => sample / 32768);
    this.#player.port.postMessage({ item, samples }, [samples.buffer]);
  }

  // Fall silent; gives the items that were not heard to their end, with the milliseconds of each that were.
  async drop() {
    const dropped = await new Promise((resolve) => {
      this.#dropped.push(resolve);
      this.#player.port.postMessage("drop");
    });
    const late = 1000 * (this.#mouth.outputLatency || 0); // what is played is not heard at once
    return dropped.map(({ item, ms }) => ({ item, ms: Math.max(0, Math.round(ms - late)) }));
  }

  set muted(muted) {
    for (const track of this.#stream.getAudioTracks()) track.enabled = !muted;
  }

  close() {
    for (const track of this.#stream.getTracks()) track.stop();
    this.#ear.close();
    this.#mouth.close();
  }
}
