// A stream, or a task, told as it comes, a line of JSON each:
//   TOKEN=... node reading.mjs 1|0.3 JSONRPC|HTTP+JSON URL stream|subscribe|get TEXT|TASK
// The last line of a stream is "end", or the error that it has ended with.

import { fetchWithToken, told } from "./told.mjs";

const [sdk, binding, url, verb, what] = process.argv.slice(2);
const { connect } = await import(sdk === "1" ? "./sdk_1.mjs" : "./sdk_0_3.mjs");
const client = await connect(binding, url, fetchWithToken);
const say = (document) => console.log(JSON.stringify(document));

async function readAll(stream) {
  for await (const event of stream) say(event);
  return "end";
}

say(await told(() => (verb === "get" ? client.get(what) : readAll(client[verb](what)))));
