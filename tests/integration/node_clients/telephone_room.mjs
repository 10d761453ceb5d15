// Makes the room of a LiveKit worker's console mode one with a telephone caller, who presses the keys that KEYS_URL
// answers with. Loaded before the worker: node --import telephone_room.mjs agent.js console ...
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const library = createRequire(process.argv[1]).resolve("@livekit/rtc-node").replace(/\.cjs$/, ".js");
const { ParticipantKind, Room, RoomEvent } = await import(pathToFileURL(library).href);
const on = Room.prototype.on;
Room.prototype.on = function (event, listener) {
  if (event === RoomEvent.DtmfReceived) void press(this);
  return on.call(this, event, listener);
};

async function press(room) {
  const caller = { identity: "sip_caller", kind: ParticipantKind.SIP };
  room.remoteParticipants.set(caller.identity, caller);
  const keys = await (await fetch(process.env.KEYS_URL)).text();
  for (const key of keys) room.emit(RoomEvent.DtmfReceived, 0, key, caller);
}
