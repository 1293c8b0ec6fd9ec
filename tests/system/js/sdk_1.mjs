// @a2a-js/sdk 1.x behind the small interface that dialogues.mjs speaks. Everything but the token is the SDK's default.

import {
  CancelTaskRequest,
  DeleteTaskPushNotificationConfigRequest,
  GetTaskPushNotificationConfigRequest,
  GetTaskRequest,
  ListTaskPushNotificationConfigsRequest,
  ListTaskPushNotificationConfigsResponse,
  ListTasksRequest,
  ListTasksResponse,
  AgentCard,
  Message,
  SendMessageRequest,
  StreamResponse,
  SubscribeToTaskRequest,
  Task,
  TaskPushNotificationConfig,
} from "a2a-sdk-1";
import {
  ClientFactory,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from "a2a-sdk-1/client";

const say = (text, ids = {}) =>
  SendMessageRequest.fromJSON({ message: { messageId: "m-1", role: "ROLE_USER", parts: [{ text }], ...ids } });

async function* shownEach(codec, stream) {
  for await (const event of stream) yield codec.toJSON(event);
}

export async function connect(binding, url, fetchImpl) {
  const cardResolver = new DefaultAgentCardResolver({ fetchImpl });
  const Factory = binding === "JSONRPC" ? JsonRpcTransportFactory : RestTransportFactory;
  const factory = new ClientFactory({ transports: [new Factory({ fetchImpl })], cardResolver });
  const card = await cardResolver.resolve(url);
  const client = await factory.createFromAgentCard(card);
  return {
    card: () => AgentCard.toJSON(card),
    extendedCard: async () => AgentCard.toJSON(await client.getAgentCard()),
    send: async (text, ids) => {
      const answer = await client.sendMessage(say(text, ids));
      return "messageId" in answer ? Message.toJSON(answer) : Task.toJSON(answer);
    },
    stream: (text, ids) => shownEach(StreamResponse, client.sendMessageStream(say(text, ids))),
    taskOf: (event) => event.task?.id ?? event.statusUpdate?.taskId,
    stateOf: (event) => (event.task ?? event.statusUpdate)?.status?.state,
    working: "TASK_STATE_WORKING",
    get: async (id) => Task.toJSON(await client.getTask(GetTaskRequest.fromJSON({ id }))),
    list: async (contextId) =>
      ListTasksResponse.toJSON(await client.listTasks(ListTasksRequest.fromJSON({ contextId, includeArtifacts: true }))),
    cancel: async (id) => Task.toJSON(await client.cancelTask(CancelTaskRequest.fromJSON({ id }))),
    subscribe: (id) => shownEach(StreamResponse, client.resubscribeTask(SubscribeToTaskRequest.fromJSON({ id }))),
    setPush: async (taskId, id, target) =>
      TaskPushNotificationConfig.toJSON(
        await client.createTaskPushNotificationConfig(TaskPushNotificationConfig.fromJSON({ taskId, id, url: target })),
      ),
    getPush: async (taskId, id) =>
      TaskPushNotificationConfig.toJSON(
        await client.getTaskPushNotificationConfig(GetTaskPushNotificationConfigRequest.fromJSON({ taskId, id })),
      ),
    listPush: async (taskId) =>
      ListTaskPushNotificationConfigsResponse.toJSON(
        await client.listTaskPushNotificationConfig(ListTaskPushNotificationConfigsRequest.fromJSON({ taskId })),
      ),
    deletePush: async (taskId, id) =>
      client.deleteTaskPushNotificationConfig(DeleteTaskPushNotificationConfigRequest.fromJSON({ taskId, id })),
  };
}
