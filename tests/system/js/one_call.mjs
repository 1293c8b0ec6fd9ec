// One call and one stream that may fail:  TOKEN=... node one_call.mjs 1|0.3 JSONRPC|HTTP+JSON URL

import { fetchWithToken, told, toldEach } from "./told.mjs";

const [sdk, binding, url] = process.argv.slice(2);
const { connect } = await import(sdk === "1" ? "./sdk_1.mjs" : "./sdk_0_3.mjs");
const client = await connect(binding, url, fetchWithToken);
const sent = await told(() => client.send("anybody there?"));
const streamed = await toldEach(client.stream("anybody there?"));
console.log(JSON.stringify({ sent, streamed }));
