// Raw sockets: every malformed frame has its defined answer, and what only the server may say nobody else can.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { OP, deflate, frame } from '../../lib/socket.mjs';
import { EVERYTHING, PUBLISH_ALL, Peer, call, clientToken, test, unique, within } from '../pubsub.mjs';

let server;
before(async () => (server = await Server.start()));
after(async () => {
  assert.equal(/panicked at/.test(server.log), false, server.log);
  await server.stop();
});

const say = (payload) => (peer) => peer.say(payload);
const data = (type, fields) => say({ type, data: fields });
const FORBIDDEN = { code: 1008, reason: 'Publishing to topic is forbidden!' };
const RESERVED = { code: 1008, reason: 'Only the server publishes this message type on this topic!' };

// What is sent, with which permissions, and how the server closes.
const rows = [
  ['nothing', say(''), 1007],
  ['no JSON', say('hello'), 1007],
  ['cut JSON', say('{"type":"publish"'), 1007],
  ['two values', say('{"type":"message"}{}'), 1007],
  ['a bad escape', say('{"type":"message","data":{"payload":"\\x"}}'), 1007],
  ['a lone surrogate as messageType', say('{"type":"message","data":{"messageType":"\\ud800"}}'), 1007],
  ['binary that is not UTF-8', (peer) => peer.socket.binary(Buffer.from([0xff, 0xfe])), 1007],
  ['null', say('null'), 1003],
  ['an array', say('[]'), 1003],
  ['a number', say('1'), 1003],
  ['a frame that is a list of its fields', say('["publish",{"topic":"a","payload":1}]'), 1003],
  ['data that is a list of its fields', say('{"type":"publish","data":["a","b",false,1,"id"]}'), 1003],
  ['data twice', say('{"type":"message","data":{},"data":{}}'), 1003],
  ['data that is null', say('{"type":"subscribe","data":null}'), 1003],
  ['a payload twice', say('{"type":"message","data":{"payload":1,"payload":2}}'), 1003],
  ['a number that is none', say('{"type":"message","data":{"payload":01}}'), 1007],
  ['a byte order mark', say('\ufeff{"type":"message"}'), 1007],
  ['no type', say('{}'), 1003],
  ['an unknown type', say('{"type":"shout","data":{}}'), 1003],
  ['a type that is a number', say('{"type":1}'), 1003],
  ['a type twice', say('{"type":"message","type":"message"}'), 1003],
  ['a topic twice', say('{"type":"subscribe","data":{"topic":"a","topic":"b"}}'), 1003],
  ['data that is text', say('{"type":"subscribe","data":"a"}'), 1003],
  ['subscribe without data', say('{"type":"subscribe"}'), 1003],
  ['subscribe to null', data('subscribe', { topic: null }), 1003],
  ['subscribe to a number', data('subscribe', { topic: 5 }), 1003],
  ['subscribe to nothing', data('subscribe', { topic: '' }), 1003],
  ['subscribe to a pattern', data('subscribe', { topic: 'a*' }), 1003],
  ['subscribe to a control character', data('subscribe', { topic: 'a\u0000' }), 1003],
  ['subscribe to a long name', data('subscribe', { topic: 'x'.repeat(257) }), 1003],
  ['subscribe to what cannot name a channel', data('subscribe', { topic: '[meta]log' }), 1003],
  ['unsubscribe without a topic', data('unsubscribe', {}), 1003],
  ['unsubscribe from nothing', data('unsubscribe', { topic: '' }), 1003],
  ['publish to null', data('publish', { topic: null, payload: 1 }), 1003],
  ['publish to nothing', data('publish', { topic: '', payload: 1 }), 1003],
  ['publish to a long name', data('publish', { topic: 'x'.repeat(257), payload: 1 }), 1003],
  ['unsubscribe from a pattern', data('unsubscribe', { topic: '*' }), 1003],
  ['publish without a topic', data('publish', { payload: 1 }), 1003],
  ['publish to a pattern', data('publish', { topic: 'a*', payload: 1 }), 1003],
  ['a messageType that is a number', data('message', { messageType: 1 }), 1003],
  ['compress that is a number', data('message', { compress: 1 }), 1003],
  ['compress that is text', data('message', { compress: 'yes' }), 1003],
  ['a payload that is too large', data('message', { payload: 'x'.repeat(65_536) }), 1009],
  ['a messageType that is too long', data('message', { messageType: 'x'.repeat(1025) }), { code: 1009, reason: 'A messageType and an id have 1024 bytes at most!' }],
  ['an id that is too long', data('message', { id: ['x'.repeat(1025)] }), 1009],
  ['a frame that is too large', data('message', { payload: 'x'.repeat(600_000) }), 1009],
  ['another connection\'s private topic', data('subscribe', { topic: 'priv/0123456789abcdef' }), { code: 1008, reason: 'Subscription to private topic is forbidden!' }],
  ['a secure topic', data('subscribe', { topic: 'secure/x' }), { code: 1008, reason: 'Subscription to secure topic is forbidden!' }, [PUBLISH_ALL]],
  ['publishing without permission', data('publish', { topic: 'x', payload: 1, id: 'never' }), FORBIDDEN, []],
  ['publishing to another topic than permitted', data('publish', { topic: 'b', payload: 1 }), FORBIDDEN, ['realtime:publisher:write:topic:a']],
  ['replying without permission', data('publish', { topic: 'priv/x', payload: 1 }), FORBIDDEN, ['realtime:publisher:write:topic:a*']],
  ['a welcome', data('publish', { topic: 'main', messageType: 'welcome', payload: 1 }), RESERVED],
  ['presence as a message', data('message', { messageType: 'presence', payload: { code: 0 } }), RESERVED],
  ['presence as a publish', data('publish', { topic: 'secure/inbound', messageType: 'presence' }), RESERVED],
  ['an acknowledgement', data('publish', { topic: 'priv/acks', messageType: 'ack', payload: 1 }), RESERVED],
  ['anything on the acknowledgements', data('publish', { topic: 'priv/acks', messageType: 'x', payload: 1 }), RESERVED],
];

for (const [what, attack, expected, permissions] of rows) {
  test(`${what} is answered with ${expected.code ?? expected}`, async () => {
    const peer = await Peer.open(server, { token: clientToken(server, permissions ?? EVERYTHING) });
    const before = peer.seen.length;
    attack(peer);
    const close = await within(5000, peer.closed, 'the end');
    assert.equal(close?.code, expected.code ?? expected, JSON.stringify(close));
    if (expected.reason) assert.equal(close.reason, expected.reason);
    assert.ok(close.reason.length > 0, 'a reason for people');
    assert.equal(peer.seen.length, before, 'and nothing else is said');
  });
}

test('what may be left out, and null, mean the defaults', async (t) => {
  const topic = unique('defaults');
  const peer = await Peer.open(server);
  t.after(() => peer.close());
  peer.subscribe(topic);
  for (const [fields, type, binary] of [
    [{}, 'broadcast', false],
    [{ messageType: null, compress: null }, 'broadcast', false],
    [{ messageType: '', compress: false }, 'broadcast', false],
    [{ messageType: 'a.b', compress: true, payload: null, unknown: [1] }, 'a.b', true],
  ]) {
    peer.say({ type: 'publish', data: { topic, ...fields } });
    const heard = await peer.on(topic);
    assert.equal(heard.messageType, type);
    assert.equal(heard.binary, binary);
    assert.equal(heard.data.payload, null);
    assert.equal('id' in heard.data, false);
  }
});

test('the largest payload fits, whatever stands beside it', async (t) => {
  const most = 'x'.repeat(65_534); // and two quotes
  const beside = { messageType: 't'.repeat(500), id: 'i'.repeat(500), compress: true };
  // As many permissions as a token has room for: those on secure/inbound are told them.
  const permissions = [...EVERYTHING, ...Array.from({ length: 150 }, (_, n) => `realtime:publisher:write:topic:one/of/many/topics/${n}`)];
  const peer = await Peer.open(server, { token: clientToken(server, permissions, { sub: unique('s'.repeat(200)) }) });
  t.after(() => peer.close());
  for (const topic of ['secure/inbound', 'large']) peer.subscribe(topic);
  peer.say({ type: 'message', data: { payload: most, ...beside } });
  assert.deepEqual((await peer.on('secure/inbound', beside.messageType)).data.client.permissions, permissions);
  peer.publish('large', most, beside);
  assert.equal((await peer.on('large')).data.payload, most);
  const body = { topic: 'large', message: most, messageType: beside.messageType };
  assert.equal((await call(server, 'POST', `/api/topics/${server.appId}/publish`, { token: server.adminToken, body })).status, 202);
  assert.equal((await peer.on('large')).data, most);
});

test('payloads and ids arrive as they were sent', async (t) => {
  const topic = unique('json');
  const peer = await Peer.open(server);
  t.after(() => peer.close());
  peer.subscribe(topic);
  const deep = '['.repeat(200) + ']'.repeat(200);
  const values = ['""', '"x"', '"\\u0000\\ud83d\\ude00\\n"', '0', '-1.5e300', '12345678901234567890', 'true', 'false', '{}', '[]', '{"a":{"b":[1,null,"c"]}}', ' { "spaced" : 1 } ', deep];
  for (const value of values) {
    peer.say(`{"type":"publish","data":{"topic":"${topic}","payload":${value},"id":${value}}}`);
    const heard = await peer.on(topic);
    assert.deepEqual(heard.data.payload, JSON.parse(value));
    assert.deepEqual(heard.data.id, JSON.parse(value));
    assert.deepEqual((await peer.on('priv/acks', 'ack')).data, { data: JSON.parse(value) });
  }
});

test('frames are handled in their order, and text may come in a binary frame', async (t) => {
  const peer = await Peer.open(server);
  t.after(() => peer.close());
  const topics = Array.from({ length: 50 }, () => unique('order'));
  for (const topic of topics) {
    peer.socket.binary(Buffer.from(JSON.stringify({ type: 'subscribe', data: { topic } })));
    for (let n = 0; n < 5; n++) peer.publish(topic, n);
  }
  await peer.settled();
  for (const topic of topics) {
    await peer.next((f) => f.topic === topic && f.data.payload === 4);
    assert.deepEqual(peer.seen.filter((f) => f.topic === topic).map((f) => f.data.payload), [0, 1, 2, 3, 4]);
    peer.unsubscribe(topic);
    peer.publish(topic, 'nobody hears this');
  }
  await peer.settled();
  assert.equal(peer.seen.filter((f) => f.data.payload === 'nobody hears this').length, 0);
});

test('acknowledgements go to the sender, for what had an id, whoever listens', async (t) => {
  const [sender, other] = await Promise.all([Peer.open(server), Peer.open(server)]);
  t.after(() => [sender, other].forEach((peer) => peer.close()));
  sender.publish('nobody-is-here', 1);
  sender.publish('nobody-is-here', 1, { id: 'a' });
  sender.say({ type: 'message', data: { payload: 1, id: 7 } });
  for (const id of ['a', 7]) {
    const ack = await sender.next((f) => f.topic === 'priv/acks' && f.data.data === id, `the acknowledgement of ${id}`);
    assert.deepEqual([ack.messageType, ack.data], ['ack', { data: id }]);
  }
  await sender.settled();
  assert.equal(sender.seen.filter((f) => f.topic === 'priv/acks').length, 3, 'none for what had no id');
  await other.settled();
  assert.equal(other.seen.filter((f) => f.topic === 'priv/acks').length, 1, 'of its own');
});

test('subscriptions: own private topics are given, main may be left, twice is once', async (t) => {
  const subject = unique('me');
  const peer = await Peer.open(server, { token: clientToken(server, EVERYTHING, { sub: subject }) });
  t.after(() => peer.close());
  const topic = unique('twice');
  for (const name of [topic, topic, 'main', `priv/${peer.id}`, `priv/${subject}`, 'priv/acks']) peer.subscribe(name);
  peer.unsubscribe(`priv/${peer.id}`);
  peer.unsubscribe('never-subscribed');
  for (const name of [topic, 'main', `priv/${peer.id}`, `priv/${subject}`]) peer.publish(name, name);
  const named = [topic, 'main', `priv/${peer.id}`, `priv/${subject}`];
  for (const name of named) await peer.next((f) => f.topic === name && f.data.payload === name, name);
  await peer.settled();
  const heard = peer.seen.filter((f) => named.includes(f.data.payload));
  assert.equal(heard.length, named.length, 'each once');
  peer.unsubscribe('main');
  peer.publish('main', 'left');
  peer.publish(topic, 'still here');
  await peer.on(topic);
  await peer.settled();
  assert.equal(peer.seen.filter((f) => f.topic === 'main' && f.data.payload === 'left').length, 0);
});

test('permissions are not shown to subscribers of ordinary topics', async (t) => {
  const peer = await Peer.open(server);
  t.after(() => peer.close());
  const topic = unique('private');
  for (const name of [topic, 'secure/inbound']) peer.subscribe(name);
  peer.publish(topic, 1);
  assert.deepEqual(Object.keys((await peer.on(topic)).data.client), ['connectionId', 'subject']);
  peer.publish('secure/inbound', 1, { messageType: 'mine' });
  assert.deepEqual((await peer.on('secure/inbound', 'mine')).data.client.permissions, EVERYTHING);
});

test('what a client asks to be compressed is deflated for those who negotiated it, and nothing else is', async (t) => {
  const topic = unique('deflate');
  const [plain, deflating] = await Promise.all([Peer.open(server), Peer.open(server, { compress: true })]);
  t.after(() => [plain, deflating].forEach((peer) => peer.close()));
  for (const peer of [plain, deflating]) {
    peer.subscribe(topic);
    await peer.settled();
  }
  const payload = 'a'.repeat(20_000);
  // A client may deflate what it sends.
  const text = JSON.stringify({ type: 'publish', data: { topic, payload, compress: true } });
  deflating.socket.write(frame(OP.text, deflate(text), { rsv: 4 }));
  assert.deepEqual(await plain.on(topic).then((f) => [f.binary, f.compressed, f.data.payload]), [true, false, payload]);
  assert.deepEqual(await deflating.on(topic).then((f) => [f.binary, f.compressed, f.data.payload]), [true, true, payload]);
  deflating.publish(topic, payload);
  for (const peer of [plain, deflating]) {
    const heard = await peer.on(topic);
    assert.deepEqual([heard.binary, heard.compressed], [false, false]);
  }
});

test('too many topics on one connection are refused', async () => {
  const peer = await Peer.open(server);
  for (let i = 0; i < 201; i++) peer.subscribe(`t${i}`);
  const close = await within(5000, peer.closed, 'the end');
  assert.deepEqual(close, { code: 1008, reason: 'Too many topics are subscribed on this connection!' });
});

test('a goodbye is answered with its own code, pings with pongs', async () => {
  const peer = await Peer.open(server);
  const ponged = new Promise((resolve) => (peer.socket.onControl = (kind, payload) => kind === 'pong' && resolve(payload)));
  peer.socket.write(frame(OP.ping, Buffer.from('are you there')));
  assert.equal((await within(1000, ponged, 'a pong')).toString(), 'are you there');
  peer.socket.write(frame(OP.close, Buffer.from([3, 232])));
  assert.equal((await within(5000, peer.closed, 'the end')).code, 1000);
});

test('after an error nothing that was sent behind it is done', async (t) => {
  const topic = unique('after');
  const witness = await Peer.open(server);
  t.after(() => witness.close());
  witness.subscribe(topic);
  await witness.settled();
  const peer = await Peer.open(server);
  const bytes = ['{"type":"nonsense"}', JSON.stringify({ type: 'publish', data: { topic, payload: 'late' } })];
  peer.socket.write(Buffer.concat(bytes.map((text) => frame(OP.text, Buffer.from(text)))));
  assert.equal((await within(5000, peer.closed, 'the end')).code, 1003);
  witness.publish(topic, 'fence');
  assert.equal((await witness.on(topic)).data.payload, 'fence');
});
