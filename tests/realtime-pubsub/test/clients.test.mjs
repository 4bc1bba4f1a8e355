// The official client does what the service's public demos do.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { PUBLISH_ALL, SUBSCRIBE_ALL, adminToken, call, connect, next, test, unique, within } from '../pubsub.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

const api = (path) => `/api/topics/${server.appId}/${path}`;

test('the tokens that development prints do what they say', async (t) => {
  const client = await connect(t, server, { token: server.clientToken, topics: ['secure/anything'] });
  assert.equal(client.info.appId, server.appId);
  assert.match(client.info.id, /^r[0-9a-f]{15}$/);
  const heard = next(client, 'secure/anything.note');
  await client.publish('secure/anything', { n: 1 }, { messageType: 'note' }).waitForAck();
  assert.deepEqual((await heard)[0].data.payload, { n: 1 });
  const answer = await call(server, 'POST', api('publish'), { token: server.adminToken, body: { topic: 'main', message: 'hi' } });
  assert.equal(answer.status, 202);
});

test('a publisher and subscribers', async (t) => {
  const topic = unique('topic');
  const [a, b, publisher] = await Promise.all([
    connect(t, server, { permissions: [], topics: [topic] }),
    connect(t, server, { permissions: [], topics: [topic] }),
    connect(t, server, { permissions: [`realtime:publisher:write:topic:${topic}`], subject: 'device-7' }),
  ]);
  await Promise.all([a.send('x').waitForAck(), b.send('x').waitForAck()]);
  const heard = Promise.all([next(a, `${topic}.broadcast`), next(b, `${topic}.broadcast`)]);
  await publisher.publish(topic, 'hello').waitForAck();
  for (const [message] of await heard) {
    assert.equal(message.data.payload, 'hello');
    assert.equal(message.compression, false);
    assert.deepEqual(message.data.client, { connectionId: publisher.info.id, subject: 'device-7' });
    assert.equal(message.data.subProtocol, 1);
  }
});

test('whoever is subscribed hears what it published itself', async (t) => {
  const topic = unique('echo');
  const client = await connect(t, server, { topics: [topic] });
  const heard = next(client, `${topic}.t`);
  client.publish(topic, 1, { messageType: 't' });
  assert.equal((await heard)[0].data.payload, 1);
});

test('secure topics need a permission; without it the socket is closed for that reason', async (t) => {
  const allowed = await connect(t, server, { permissions: ['realtime:subscriber:read:topic:secure/a*', PUBLISH_ALL], topics: ['secure/abc'] });
  const heard = next(allowed, 'secure/abc.x');
  await allowed.publish('secure/abc', 1, { messageType: 'x' }).waitForAck();
  await heard;
  const refused = await connect(t, server, { permissions: [] });
  const closed = next(refused, 'close', 1000);
  refused.subscribeRemoteTopic('secure/abc');
  const [event] = await closed;
  assert.equal(event.reason, 'Subscription to secure topic is forbidden!');
  assert.equal(event.code, 1008);
});

test('request and reply: the client asks on a topic', async (t) => {
  const topic = unique('rpc');
  const worker = await connect(t, server, { topics: [topic] });
  await worker.send('ready').waitForAck();
  worker.on(`${topic}.sum`, (message, reply) => reply(message.data.payload.a + message.data.payload.b, 'ok'));
  const client = await connect(t, server, { permissions: [`realtime:publisher:write:topic:${topic}`] });
  const [answer] = await client.publish(topic, { a: 2, b: 3 }, { messageType: 'sum' }).waitForReply();
  assert.deepEqual({ status: answer.status, data: answer.data }, { status: 'ok', data: 5 });
});

test('request and reply: a client without permissions asks the back end', async (t) => {
  const backend = await connect(t, server, { permissions: ['realtime:publisher:write:topic:priv/*', SUBSCRIBE_ALL], topics: ['secure/inbound'] });
  await backend.send('ready').waitForAck();
  const seen = [];
  backend.on('secure/inbound.get-time', (message, reply) => {
    seen.push(message.data.client);
    reply({ time: 5 }, 'ok', { compress: true });
  });
  const client = await connect(t, server, { permissions: [], subject: 'asker' });
  const [answer] = await client.send('', { messageType: 'get-time' }).waitForReply();
  assert.deepEqual(answer.data, { time: 5 });
  assert.deepEqual(seen, [{ connectionId: client.info.id, subject: 'asker', permissions: [] }]);
});

test('a hundred requests at once each get their own reply', async (t) => {
  const topic = unique('many');
  const worker = await connect(t, server, { topics: [topic] });
  await worker.send('ready').waitForAck();
  worker.on(`${topic}.double`, (message, reply) => reply(message.data.payload * 2));
  const client = await connect(t, server);
  const asked = Array.from({ length: 100 }, (_, n) => client.publish(topic, n, { messageType: 'double' }).waitForReply());
  const answers = await within(10_000, Promise.all(asked), 'the replies');
  assert.deepEqual(answers.map(([answer]) => answer.data), Array.from({ length: 100 }, (_, n) => n * 2));
});

test('presence: a back end hears who comes and goes', async (t) => {
  const backend = await connect(t, server, { topics: ['secure/inbound'] });
  await backend.send('ready').waitForAck();
  const events = [];
  let wake = () => {};
  backend.on('secure/inbound.presence', (message) => {
    if (message.data.client.subject !== 'visitor') return;
    events.push(message);
    wake();
  });
  const until = async (count) => {
    while (events.length < count) await new Promise((resolve) => (wake = resolve));
  };
  const visitor = await connect(t, server, { permissions: ['realtime:publisher:write:topic:x'], subject: 'visitor' });
  await within(5000, until(1), 'connected');
  visitor.disconnect();
  await within(5000, until(2), 'disconnected');
  await backend.send('settle').waitForAck();
  const client = { connectionId: visitor.info.id, subject: 'visitor', permissions: ['realtime:publisher:write:topic:x'] };
  assert.deepEqual(
    events.map((event) => [event.data.client, event.data.subProtocol, event.data.payload, event.compression]),
    [
      [client, 1, { code: 0, status: 'connected' }, false],
      [client, 1, { code: -1, status: 'disconnected' }, false],
    ],
  );
});

test('compressed messages come in binary frames', async (t) => {
  const topic = unique('big');
  const client = await connect(t, server, { topics: [topic] });
  const payload = { text: 'fanfare '.repeat(3000) };
  for (const compress of [true, false, true]) {
    const heard = next(client, `${topic}.big`);
    await client.publish(topic, payload, { messageType: 'big', compress }).waitForAck();
    const [message] = await heard;
    assert.equal(message.compression, compress);
    assert.deepEqual(message.data.payload, payload);
  }
});

test('published over HTTP, the data is the message itself', async (t) => {
  const topic = unique('http');
  const client = await connect(t, server, { permissions: [], topics: [topic] });
  await client.send('ready').waitForAck();
  const token = adminToken(server, [`realtime:publisher:write:topic:${topic}`]);
  for (const [body, expected, type, compression] of [
    [{ message: '2026-01-01T00:00:00Z' }, '2026-01-01T00:00:00Z', 'broadcast', false],
    [{ message: { type: 'response', ack: 'x' }, compress: true }, { type: 'response', ack: 'x' }, 'broadcast', true],
    [{ message: [1, 2], messageType: 'list' }, [1, 2], 'list', false],
    [{ message: null }, null, 'broadcast', false],
  ]) {
    const heard = next(client, `${topic}.${type}`);
    const answer = await call(server, 'POST', api('publish'), { token, body: { topic, ...body } });
    assert.equal(answer.status, 202);
    assert.equal(answer.body.subscribers, 1);
    const [message] = await heard;
    assert.deepEqual(message.data, expected);
    assert.equal(message.compression, compression);
  }
});

test('a back end answers on the private topic of a subject, and on main', async (t) => {
  const client = await connect(t, server, { permissions: [], subject: 'user@example.com' });
  const heard = new Promise((resolve) => client.onAny((event, message) => message?.topic === 'priv/user@example.com' && resolve(message)));
  const token = adminToken(server, [PUBLISH_ALL]);
  await call(server, 'POST', api('publish'), { token, body: { topic: 'priv/user@example.com', message: { type: 'response' } } });
  assert.deepEqual((await within(5000, heard, 'the answer')).data, { type: 'response' });
  const all = next(client, 'main.alarm');
  await call(server, 'POST', api('publish'), { token, body: { topic: 'main', message: 1, messageType: 'alarm' } });
  assert.equal((await all)[0].data, 1);
});

test('an administrator unsubscribes a subject, and ends connections', async (t) => {
  const topic = `secure/${unique('room')}`;
  const subject = unique('user');
  const [one, other] = await Promise.all([
    connect(t, server, { subject, topics: [topic] }),
    connect(t, server, { subject: unique('other'), topics: [topic] }),
  ]);
  await Promise.all([one.send('ready').waitForAck(), other.send('ready').waitForAck()]);
  let heardByOne = 0;
  one.on(`${topic}.x`, () => heardByOne++);
  const subscribers = adminToken(server, ['realtime:admin:manage:subscribers']);
  const answer = await call(server, 'POST', api('unsubscribe'), { token: subscribers, body: { topicPatterns: ['secure/*'], subject } });
  assert.deepEqual([answer.status, answer.body], [200, { unsubscribed: 1 }]);
  const heard = next(other, `${topic}.x`);
  await other.publish(topic, 1, { messageType: 'x' }).waitForAck();
  await heard;
  await one.send('settle').waitForAck();
  assert.equal(heardByOne, 0);

  const connections = adminToken(server, ['realtime:admin:manage:connections']);
  const closed = next(one, 'close');
  const path = `/api/connections/${server.appId}`;
  assert.equal((await call(server, 'DELETE', `${path}/${one.info.id}`, { token: connections })).status, 204);
  assert.equal((await closed)[0].code, 4000);
  assert.equal((await call(server, 'DELETE', `${path}/${one.info.id}`, { token: connections })).status, 404);
  const last = next(other, 'close');
  const all = await call(server, 'DELETE', path, { token: connections });
  assert.equal(all.status, 200);
  assert.ok(all.body.terminated >= 1);
  assert.equal((await last)[0].code, 4000);
});

test('a hundred connections of as many subjects', async (t) => {
  const topic = unique('bulk');
  const clients = await Promise.all(Array.from({ length: 100 }, () => connect(t, server, { permissions: [], subject: unique('s'), topics: [topic] })));
  await Promise.all(clients.map((client) => client.send('ready').waitForAck()));
  const heard = Promise.all(clients.map((client) => next(client, `${topic}.broadcast`)));
  const answer = await call(server, 'POST', api('publish'), { token: server.adminToken, body: { topic, message: 'all' } });
  assert.equal(answer.body.subscribers, 100);
  await heard;
  assert.equal(new Set(clients.map((client) => client.info.id)).size, 100);
});

test('after the connection is lost the client comes back and subscribes again', async (t) => {
  const topic = unique('again');
  const client = await connect(t, server, { topics: [topic], maxRetries: 10 });
  const again = next(client, 'session.started', 15_000);
  const token = adminToken(server, ['realtime:admin:manage:connections']);
  await call(server, 'DELETE', `/api/connections/${server.appId}/${client.info.id}`, { token });
  const [info] = await again;
  assert.notEqual(info.id, client.info.id);
  const heard = next(client, `${topic}.x`);
  await client.publish(topic, 1, { messageType: 'x' }).waitForAck();
  await heard;
});
