// @a2a-js/sdk 0.3 behind the small interface that dialogues.mjs speaks. Everything but the token is the SDK's default.

import {
  ClientFactory,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from "a2a-sdk-0.3/client";

const say = (text, ids = {}) => ({
  message: { kind: "message", messageId: "m-1", role: "user", parts: [{ kind: "text", text }], ...ids },
});

export async function connect(binding, url, fetchImpl) {
  const cardResolver = new DefaultAgentCardResolver({ fetchImpl });
  const Factory = binding === "JSONRPC" ? JsonRpcTransportFactory : RestTransportFactory;
  const factory = new ClientFactory({ transports: [new Factory({ fetchImpl })], cardResolver });
  const card = await cardResolver.resolve(url);
  const client = await factory.createFromAgentCard(card);
  return {
    card: () => card,
    extendedCard: () => client.getAgentCard(),
    send: (text, ids) => client.sendMessage(say(text, ids)),
    stream: (text, ids) => client.sendMessageStream(say(text, ids)),
    taskOf: (event) => event.taskId ?? event.id,
    stateOf: (event) => event.status?.state,
    working: "working",
    get: (id) => client.getTask({ id }),
    list: () => "0.3 has no list of tasks",
    cancel: (id) => client.cancelTask({ id }),
    subscribe: (id) => client.resubscribeTask({ id }),
    setPush: (taskId, id, target) =>
      client.setTaskPushNotificationConfig({ taskId, pushNotificationConfig: { id, url: target } }),
    getPush: (taskId, id) => client.getTaskPushNotificationConfig({ id: taskId, pushNotificationConfigId: id }),
    listPush: (taskId) => client.listTaskPushNotificationConfig({ id: taskId }),
    deletePush: (taskId, id) => client.deleteTaskPushNotificationConfig({ id: taskId, pushNotificationConfigId: id }),
  };
}
