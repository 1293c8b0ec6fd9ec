// A client that sends to an agent that is away, asks for its task until it is done, and reads a stream along meanwhile.
//
//     TOKEN=... node away.mjs 1|0.3 JSONRPC|HTTP+JSON URL
//
// Prints one JSON object: the answer to the send, the task when it is done, and the first and the last thing streamed.

import { setTimeout } from "node:timers/promises";
import { fetchWithToken } from "./told.mjs";

const [sdk, binding, url] = process.argv.slice(2);
const { connect } = await import(sdk === "1" ? "./sdk_1.mjs" : "./sdk_0_3.mjs");
const client = await connect(binding, url, fetchWithToken);
const isDone = (state) => state.toLowerCase().endsWith("completed");

async function readAlong() {
  const states = [];
  let first = null;
  for await (const event of client.stream("one two three")) {
    first ??= event.task || event.kind === "task" ? "task" : JSON.stringify(event);
    if (client.stateOf(event)) states.push(client.stateOf(event));
  }
  return [first, isDone(states.at(-1)) ? "completed" : states.at(-1)];
}

const streaming = readAlong();
const sent = await client.send("one two three");
let done = sent;
while (!isDone(done.status.state)) {
  await setTimeout(100);
  done = await client.get(sent.id);
}
console.log(JSON.stringify({ sent, done, streamed: await streaming }));
