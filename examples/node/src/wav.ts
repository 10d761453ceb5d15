// WAV files of 16-bit mono PCM, which stand in for the telephone here.
import { readFileSync, writeFileSync } from "node:fs";

export function readWav(path: string): { rate: number; pcm: Buffer } {
  const file = readFileSync(path);
  let rate = 0;
  for (let at = 12; at + 8 <= file.length; ) {
    const size = file.readUInt32LE(at + 4);
    const body = file.subarray(at + 8, at + 8 + size);
    const name = file.toString("latin1", at, at + 4);
    if (name === "fmt ") {
      const [encoding, channels, bits] = [body.readUInt16LE(0), body.readUInt16LE(2), body.readUInt16LE(14)];
      if (encoding !== 1 || channels !== 1 || bits !== 16) break;
      rate = body.readUInt32LE(4);
    }
    if (name === "data" && rate) return { rate, pcm: body };
    at += 8 + size + (size % 2);
  }
  throw new Error(`${path} is no WAV file of 16-bit mono PCM`);
}

export function writeWav(path: string, rate: number, pcm: Buffer): void {
  const header = Buffer.alloc(44);
  header.write("RIFF\0\0\0\0WAVEfmt ", "latin1");
  header.writeUInt32LE(36 + pcm.length, 4);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(2 * rate, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36, "latin1");
  header.writeUInt32LE(pcm.length, 40);
  writeFileSync(path, Buffer.concat([header, pcm]));
}
