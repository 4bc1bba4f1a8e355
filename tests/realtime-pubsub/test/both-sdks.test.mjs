// The official clients of both protocols on one app: what one says the other hears.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import Ably from 'ably';
import { Server } from '../../lib/server.mjs';
import { connect, next, test, unique, within } from '../pubsub.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

function ably(t, more = {}) {
  const client = new Ably.Realtime({ key: server.key, endpoint: server.host, port: server.port, tls: false, logLevel: 0, ...more });
  t.after(() => client.close());
  return client;
}

/** The next message on the channel. */
const heard = (channel, name) =>
  within(5000, new Promise((resolve, reject) => channel.subscribe(name, resolve).catch(reject)), `${name} at Ably's client`);

for (const binary of [false, true]) {
  test(`a message crosses from each client to the other, Ably's with ${binary ? 'MessagePack' : 'JSON'}`, async (t) => {
    const topic = unique('crossing');
    const channel = ably(t, { clientId: 'ably-user', useBinaryProtocol: binary }).channels.get(topic);
    await channel.attach();
    const client = await connect(t, server, { subject: 'topic-user', topics: [topic] });
    await client.send('ready').waitForAck();
    for (const [n, payload] of ['text', { deep: [1, null, 'ü'] }, 5, true].entries()) {
      const crossed = heard(channel, `there${n}`);
      await client.publish(topic, payload, { messageType: `there${n}`, compress: n % 2 === 1 }).waitForAck();
      const message = await crossed;
      assert.deepEqual([message.data, message.clientId, message.connectionId], [payload, 'topic-user', client.info.id]);
    }
    for (const [n, data] of ['text', { deep: [1, null, 'ü'] }, ['a']].entries()) {
      const crossed = next(client, `${topic}.back${n}`);
      await channel.publish(`back${n}`, data);
      const [frame] = await crossed;
      assert.deepEqual([frame.data.payload, frame.data.client.subject, frame.compression], [data, 'ably-user', false]);
    }
    const crossed = next(client, `${topic}.bytes`);
    await channel.publish('bytes', Buffer.from([0, 1, 254, 255]));
    const [frame] = await crossed;
    assert.deepEqual([frame.data.payload, frame.data.encoding], ['AAH+/w==', 'base64']);
  });
}

test('a request from either client is answered by the other', async (t) => {
  const topic = unique('asking');
  const worker = ably(t, { clientId: 'worker' });
  const channel = worker.channels.get(topic);
  await channel.subscribe('ask', async (message) => {
    const reply = { data: message.data * 2, status: 'ok', id: message.extras.realtimePubSub.id };
    await worker.channels.get(`priv/${message.connectionId}`).publish('response', reply);
  });
  const client = await connect(t, server, { topics: [topic] });
  const [answer] = await client.publish(topic, 21, { messageType: 'ask' }).waitForReply();
  assert.deepEqual([answer.data, answer.status], [42, 'ok']);

  // Ably's client has no private topic of itself: it listens on a channel of that name.
  await worker.connection.whenState('connected');
  const mailbox = worker.channels.get(`priv/${worker.connection.id}`);
  await mailbox.attach();
  client.on(`${topic}.question`, (message, reply) => reply(message.data.payload.n + 1, 'fine'));
  const answered = heard(mailbox, 'response');
  await channel.publish('question', { n: 1 });
  const { data } = await answered;
  assert.deepEqual([data.data, data.status, typeof data.id], [2, 'fine', 'string']);
});
