// The plug-in's way to the fleet. It calls a node once, and when it loses that connection it begins another call with the
// text of this one. So it is given an address on loopback to call, behind which a `Line` calls again when a node is full,
// moves when one asks for it, and goes on with the same call when a node is lost, without a word to the plug-in.
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import type { Line, LineEvent } from "./line.js";

/** Listen for the plug-in's connection to `line`; gives its `baseURL`. */
export async function relay(line: Line): Promise<string> {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
  await once(server, "listening");
  server.once("connection", (plugin) => {
    server.close(); // it takes no other connection
    let response = ""; // the one that the plug-in is receiving
    const tell = (event: object): void => plugin.send(JSON.stringify(event));
    line.on("event", (event: LineEvent) => {
      if (event.type === "response.created") response = (event["response"] as { id: string }).id;
      if (event.type === "response.done") response = "";
      tell(event);
    });
    // The rest of an answer that was cut off comes as another response; nobody else ends the first one.
    line.on("resumed", () => {
      if (response) tell({ type: "response.done", response: { id: response, status: "incomplete", output: [] } });
      response = "";
    });
    line.on("ended", (_code, reason) => {
      const message = `the call has ended: ${reason || "its node was lost"}`;
      tell({ type: "error", error: { type: "insufficient_quota", message } }); // the plug-in calls again after any other
      plugin.close();
    });
    plugin.on("message", (data) => line.send(JSON.parse(String(data)) as LineEvent));
    plugin.on("close", () => void line.hangUp());
    line.send({ type: "session.update", session: { type: "realtime", x_resume: true } });
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}
