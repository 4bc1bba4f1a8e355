// One app, two protocols: a topic is a channel, and the clients of both talk to each other.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { request } from '../../lib/http.mjs';
import { Server } from '../../lib/server.mjs';
import { ACTION, PRESENCE, Wire } from '../../lib/wire.mjs';
import { Peer, call, clientToken, connect, next, test, unique } from '../pubsub.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

const heard = async (wire, channel) => {
  const frame = await wire.next((m) => m.action === ACTION.MESSAGE && m.channel === channel, `a message on ${channel}`);
  return { ...frame.messages[0], connectionId: frame.messages[0].connectionId ?? frame.connectionId };
};

async function both(t, { params = {}, sub } = {}) {
  const topic = unique('shared');
  const wire = await Wire.connect(server, params);
  const peer = await Peer.open(server, { token: clientToken(server, undefined, sub ? { sub } : {}) });
  t.after(() => [wire, peer].forEach((client) => client.close()));
  await wire.attach(topic);
  peer.subscribe(topic);
  peer.publish(topic, 'first');
  await peer.on(topic);
  await heard(wire, topic);
  return { topic, wire, peer };
}

test('from Realtime Pub/Sub to Ably', async (t) => {
  const { topic, wire, peer } = await both(t, { sub: 'user-1' });
  for (const [payload, data, encoding] of [
    ['text', 'text', undefined],
    ['', '', undefined],
    [{ a: [1, null] }, '{"a":[1,null]}', 'json'],
    [[], '[]', 'json'],
    [5, '5', 'json'],
    [false, 'false', 'json'],
    [null, undefined, undefined],
  ]) {
    peer.publish(topic, payload, { messageType: 'kind', id: 'i1', compress: true });
    const message = await heard(wire, topic);
    assert.deepEqual(
      [message.name, message.data, message.encoding, message.clientId, message.connectionId],
      ['kind', data, encoding, 'user-1', peer.id],
    );
    assert.deepEqual(message.extras, { realtimePubSub: { id: 'i1', compress: true } });
    assert.equal(message.action, 0);
    assert.ok(message.serial);
  }
  peer.publish(topic, 1);
  const plain = await heard(wire, topic);
  assert.equal(plain.name, 'broadcast');
  assert.equal(plain.extras, undefined);
});

test('from Ably to Realtime Pub/Sub', async (t) => {
  const { topic, wire, peer } = await both(t, { params: { clientId: 'ably-user' } });
  for (const [message, type, payload, encoding] of [
    [{ data: 'text' }, 'broadcast', 'text', undefined],
    [{ name: 'n', data: 'text' }, 'n', 'text', undefined],
    [{ name: 'n', data: '{"a":1}', encoding: 'json' }, 'n', { a: 1 }, undefined],
    [{ name: 'n', data: 'AAEC', encoding: 'base64' }, 'n', 'AAEC', 'base64'],
    [{ name: 'n', data: 'AAEC', encoding: 'utf-8/cipher+aes-128-cbc/base64' }, 'n', 'AAEC', 'utf-8/cipher+aes-128-cbc/base64'],
    [{ name: 'n', data: 'not json', encoding: 'json' }, 'n', 'not json', 'json'],
    [{ name: 'n' }, 'n', null, undefined],
    [{ name: '"quoted"\n', data: '"\u0001' }, '"quoted"\n', '"\u0001', undefined],
  ]) {
    await wire.publish(topic, message);
    const frame = await peer.on(topic);
    assert.equal(frame.messageType, type);
    assert.deepEqual(frame.data.client, { connectionId: wire.id, subject: 'ably-user' });
    assert.equal(frame.data.subProtocol, 1);
    assert.deepEqual(frame.data.payload, payload);
    assert.equal(frame.data.encoding, encoding);
    assert.equal(typeof frame.data.id, 'string');
    assert.equal(frame.binary, false);
  }
});

test('several messages of one Ably publish are as many frames, in order', async (t) => {
  const { topic, wire, peer } = await both(t);
  await wire.publish(topic, [1, 2, 3].map((n) => ({ name: `n${n}`, data: `${n}` })));
  const frames = [await peer.on(topic), await peer.on(topic), await peer.on(topic)];
  assert.deepEqual(frames.map((f) => [f.messageType, f.data.payload]), [['n1', '1'], ['n2', '2'], ['n3', '3']]);
  assert.equal(new Set(frames.map((f) => f.data.id)).size, 3);
});

test('published over HTTP, in either protocol, the data is the message itself', async (t) => {
  const { topic, wire, peer } = await both(t);
  await call(server, 'POST', `/api/topics/${server.appId}/publish`, { token: server.adminToken, body: { topic, message: { n: 1 } } });
  assert.deepEqual(await peer.on(topic).then((f) => [f.messageType, f.data]), ['broadcast', { n: 1 }]);
  const message = await heard(wire, topic);
  assert.deepEqual([message.name, message.data, message.encoding, message.connectionId], ['broadcast', '{"n":1}', 'json', undefined]);
  await request(server, 'POST', `/channels/${topic}/messages`, { body: { name: 'n', data: 'AAEC', encoding: 'base64' } });
  const frame = await peer.on(topic);
  assert.deepEqual([frame.messageType, frame.data, frame.encoding], ['n', 'AAEC', 'base64']);
  await heard(wire, topic);
});

test('both see the same order', async (t) => {
  const { topic, wire, peer } = await both(t);
  const sent = 200;
  for (let n = 0; n < sent; n++) {
    peer.publish(topic, `p${n}`);
    wire.send({ action: ACTION.MESSAGE, channel: topic, msgSerial: wire.msgSerial++, messages: [{ data: `a${n}` }] });
  }
  const order = { ably: [], pubsub: [] };
  while (order.ably.length < 2 * sent) order.ably.push((await heard(wire, topic)).data);
  while (order.pubsub.length < 2 * sent) order.pubsub.push((await peer.on(topic)).data.payload);
  assert.deepEqual(order.ably, order.pubsub);
});

test('history, rewind, occupancy and presence of Ably work on a topic, where its rule allows', async (t) => {
  const topic = `persisted:${unique('kept')}`;
  const peer = await Peer.open(server, { token: clientToken(server, undefined, { sub: 'user-1' }) });
  t.after(() => peer.close());
  peer.subscribe(topic);
  peer.publish(topic, { n: 1 }, { messageType: 'kept', id: 'x', compress: true });
  const live = await peer.on(topic);
  const { body } = await request(server, 'GET', `/channels/${encodeURIComponent(topic)}/messages`);
  assert.equal(body.length, 1);
  assert.deepEqual(
    [body[0].name, body[0].data, body[0].encoding, body[0].clientId, body[0].connectionId, body[0].extras],
    ['kept', '{"n":1}', 'json', 'user-1', peer.id, { realtimePubSub: { id: 'x', compress: true } }],
  );
  assert.equal(live.binary, true);

  const wire = await Wire.connect(server, { clientId: 'watcher' });
  t.after(() => wire.close());
  await wire.attach(topic, { params: { rewind: '1', occupancy: 'metrics' } });
  const names = [];
  while (names.length < 2) {
    const frame = await wire.next((m) => m.action === ACTION.MESSAGE && m.channel === topic);
    names.push(...frame.messages.map((message) => message.name));
    const metrics = frame.messages.find((message) => message.name === '[meta]occupancy')?.data;
    if (metrics) assert.equal((typeof metrics === 'string' ? JSON.parse(metrics) : metrics).metrics.subscribers, 2);
  }
  assert.deepEqual(names.sort(), ['[meta]occupancy', 'kept']);
  const entered = await wire.presence(topic, { action: PRESENCE.enter, data: 'here' });
  assert.equal(entered.action, ACTION.ACK);
  peer.publish(topic, 'after', { messageType: 'after' });
  assert.equal((await peer.on(topic)).messageType, 'after', 'a member that enters is nothing that topics know');
});

test('a client of Ably cannot say what only the server says', async (t) => {
  const wire = await Wire.connect(server);
  const peer = await Peer.open(server);
  t.after(() => [wire, peer].forEach((client) => client.close()));
  peer.subscribe('secure/inbound');
  await peer.settled();
  const extras = { realtimePubSub: { permissions: ['realtime:admin:manage:application'], id: 'forged' } };
  await wire.publish('secure/inbound', { name: 'presence', data: '{"code":-1}', encoding: 'json', extras });
  const frame = await peer.next((f) => f.topic === 'secure/inbound' && f.data.client?.connectionId === wire.id);
  assert.equal(frame.messageType, 'broadcast');
  assert.equal('permissions' in frame.data.client, false);
  assert.notEqual(frame.data.id, 'forged');
  await wire.publish('main', { name: 'welcome', data: 'x' });
  assert.equal((await peer.next((f) => f.topic === 'main' && f.data.payload === 'x')).messageType, 'broadcast');
  await wire.publish('priv/acks', { name: 'ack', data: '{"data":"a"}', encoding: 'json' });
  await peer.settled();
  assert.equal(peer.seen.filter((f) => f.topic === 'priv/acks' && f.data.payload).length, 0);
});

test('the official client and Ably\'s: a request and its reply', async (t) => {
  const topic = unique('rpc');
  const wire = await Wire.connect(server, { clientId: 'worker' });
  t.after(() => wire.close());
  await wire.attach(topic);
  const client = await connect(t, server, { topics: [topic] });
  const asked = client.publish(topic, 'how much?', { messageType: 'ask' });
  const reply = asked.waitForReply();
  const question = await heard(wire, topic);
  const answer = JSON.stringify({ data: 42, status: 'ok', id: question.extras.realtimePubSub.id });
  await wire.publish(`priv/${question.connectionId}`, { name: 'response', data: answer, encoding: 'json' });
  assert.equal((await reply)[0].data, 42);
  const told = next(client, `${topic}.note`);
  await wire.publish(topic, { name: 'note', data: 'hello from Ably' });
  assert.equal((await told)[0].data.payload, 'hello from Ably');
});
