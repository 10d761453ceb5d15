// A telephone assistant for LiveKit whose model is a Voicefleet node: it hears, thinks and speaks there. Telephone calls
// come in by LiveKit's SIP service, as a room each, and LiveKit hands each room to this worker.
import { fileURLToPath } from "node:url";
import { type JobContext, ServerOptions, cli, defineAgent, llm, voice } from "@livekit/agents";
import * as openai from "@livekit/agents-plugin-openai";
import { ParticipantKind, RoomEvent } from "@livekit/rtc-node";
import { SipClient } from "livekit-server-sdk";
import { z } from "zod";
import { Line } from "./line.js";
import { relay } from "./relay.js";

const NODE = process.env["VOICEFLEET_URL"] ?? "ws://127.0.0.1:9000/v1";
const KEY = process.env["VOICEFLEET_KEY"];
const TRANSFER_TO = process.env["TRANSFER_TO"] ?? "tel:+15550100";
const BYTES_PER_MS = 48; // the plug-in's audio: 24 kHz, both ways
const LONGEST_CALL_MS = 24 * 3_600_000; // the node ends a call; the plug-in would begin another every 20 minutes
const KEYS_PAUSE_MS = 2_000; // without another key, this ends a row of keys; `#` does at once

const openingHours = llm.tool({
  description: "When the library is open.",
  parameters: z.object({ day: z.string().describe("The day of the week, in English.") }),
  execute: async ({ day }) => (day.toLowerCase() === "sunday" ? "closed" : "from nine to five"),
});

/** A SIP REFER, which is LiveKit's part. */
function transfer({ room, job }: JobContext) {
  return llm.tool({
    description: "Hand the caller over to a person.",
    execute: async () => {
      const caller = [...room.remoteParticipants.values()].find(({ kind }) => kind === ParticipantKind.SIP);
      if (!caller) throw new llm.ToolError("This call did not come by telephone.");
      const sip = new SipClient(process.env["LIVEKIT_URL"] ?? "");
      await sip.transferSipParticipant(job.room?.name ?? "", caller.identity, TRANSFER_TO);
      return "The caller is being put through.";
    },
  });
}

/** Tells the model which keys the caller presses. */
function tellKeys({ room }: JobContext, session: voice.AgentSession): void {
  let keys: string[] = [];
  let pause: NodeJS.Timeout | undefined;
  room.on(RoomEvent.DtmfReceived, (_code, digit) => {
    keys.push(digit);
    clearTimeout(pause);
    pause = setTimeout(() => {
      session.interrupt();
      session.generateReply({ userInput: `The caller pressed ${keys.join(", ")}.` });
      keys = [];
    }, digit === "#" ? 0 : KEYS_PAUSE_MS);
  });
}

export default defineAgent({
  entry: async (ctx: JobContext) => {
    const line = await Line.connect({
      url: `${NODE}/realtime`,
      bytesPerMs: BYTES_PER_MS,
      ...(KEY && { apiKey: KEY }),
    }).catch(async (error: unknown) => {
      await ctx.deleteRoom(ctx.job.room?.name); // hangs up: nobody listens to silence
      throw error;
    });
    const baseURL = await relay(line);
    const model = new openai.realtime.RealtimeModel({ baseURL, apiKey: "none", maxSessionDuration: LONGEST_CALL_MS });
    const session = new voice.AgentSession({ llm: model });
    const agent = new voice.Agent({
      instructions: "You answer a library's telephone. Say one or two short sentences at a time.",
      tools: { opening_hours: openingHours, transfer_to_a_person: transfer(ctx) },
    });
    await session.start({ agent, room: ctx.room, inputOptions: { deleteRoomOnClose: true } });
    tellKeys(ctx, session);
    session.generateReply({ instructions: "Greet the caller in one short sentence." });
  },
});

// The processes that hold the calls import this file as well.
const thisFile = fileURLToPath(import.meta.url);
if (process.argv[1] === thisFile) cli.runApp(new ServerOptions({ agent: thisFile, agentName: "voicefleet-desk" }));
