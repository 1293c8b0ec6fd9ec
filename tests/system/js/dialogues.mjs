// Dialogues of an official JavaScript client with an agent, wherever it is reached.
//
//     TOKEN=... node dialogues.mjs 1|0.3 JSONRPC|HTTP+JSON ECHO_URL THINKER_URL
//
// Prints one JSON object: the record of each dialogue by its name. TOKEN may be empty.

import { fetchWithToken, told, toldEach } from "./told.mjs";

const TEXT = "Grüße von weit her 🛰 and back";
const NOBODY = "11111111-2222-3333-4444-555555555555";
const [sdk, binding, echoUrl, thinkerUrl] = process.argv.slice(2);
const { connect } = await import(sdk === "1" ? "./sdk_1.mjs" : "./sdk_0_3.mjs");

const dialogues = {
  "the card": async (client) => [await told(client.card), await told(client.extendedCard)],

  "a task that ends at once": async (client) => {
    const task = await client.send(TEXT);
    return [
      task,
      await told(() => client.get(task.id)),
      await told(() => client.list(task.contextId)),
      await told(() => client.cancel(task.id)),
      await toldEach(client.subscribe(task.id)),
      await told(() => client.send("second", { contextId: task.contextId })),
      await told(() => client.send("third", { contextId: task.contextId, taskId: task.id })),
    ];
  },

  "a stream": async (client) => toldEach(client.stream(TEXT)),

  "questions about nothing": async (client) => [
    await told(() => client.get(NOBODY)),
    await told(() => client.cancel(NOBODY)),
    await toldEach(client.subscribe(NOBODY)),
    await told(() => client.send("hello?", { taskId: NOBODY })),
    await toldEach(client.stream("hello?", { taskId: NOBODY })),
    await told(() => client.listPush(NOBODY)),
  ],

  "push configs": async (client) => {
    const { id } = await client.send(TEXT);
    return [
      await told(() => client.setPush(id, "one", "http://127.0.0.1:9/one")),
      await told(() => client.setPush(id, "two", "http://127.0.0.1:9/two")),
      await told(() => client.getPush(id, "one")),
      await told(() => client.listPush(id)),
      await told(() => client.deletePush(id, "one")),
      await told(() => client.getPush(id, "one")),
      await told(() => client.listPush(id)),
    ];
  },
};

async function aTaskThatIsCancelled(client) {
  let cancelled = null;
  const events = await toldEach(client.stream(TEXT), async (event) => {
    if (cancelled === null && client.stateOf(event) === client.working)
      cancelled = await told(() => client.cancel(client.taskOf(event)));
  });
  return [events, cancelled];
}

const client = await connect(binding, echoUrl, fetchWithToken);
const records = {};
for (const [name, dialogue] of Object.entries(dialogues)) records[name] = await dialogue(client);
records["a task that is cancelled"] = await aTaskThatIsCancelled(await connect(binding, thinkerUrl, fetchWithToken));
console.log(JSON.stringify(records));
