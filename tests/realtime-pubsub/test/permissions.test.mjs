// What each permission allows on a WebSocket: every permission against every action, on a socket of its own.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { EVERYTHING, PUBLISH_ALL, Peer, SUBSCRIBE_ALL, clientToken, test, unique } from '../pubsub.mjs';

const WRITE = 'realtime:publisher:write:topic:';
const READ = 'realtime:subscriber:read:topic:';
const NO_SECURE = 'Subscription to secure topic is forbidden!';
const NO_PRIVATE = 'Subscription to private topic is forbidden!';
const NO_PUBLISH = 'Publishing to topic is forbidden!';

// The action, and the reason with which the connection ends where it is forbidden.
const actions = {
  'subscribe news': [(peer) => peer.subscribe('news'), NO_SECURE],
  'unsubscribe news': [(peer) => peer.unsubscribe('news'), ''],
  'subscribe secure/a': [(peer) => peer.subscribe('secure/a'), NO_SECURE],
  'subscribe secure/inbound': [(peer) => peer.subscribe('secure/inbound'), NO_SECURE],
  'unsubscribe secure/a': [(peer) => peer.unsubscribe('secure/a'), ''],
  'subscribe own private': [(peer) => peer.subscribe(`priv/${peer.id}`), NO_PRIVATE],
  'subscribe the subject\'s private': [(peer) => peer.subscribe(`priv/${peer.subject}`), NO_PRIVATE],
  'subscribe another\'s private': [(peer) => peer.subscribe('priv/you'), NO_PRIVATE],
  'publish news': [(peer) => peer.publish('news', 1), NO_PUBLISH],
  'publish main': [(peer) => peer.publish('main', 1), NO_PUBLISH],
  'publish secure/a': [(peer) => peer.publish('secure/a', 1), NO_PUBLISH],
  'publish secure/inbound': [(peer) => peer.publish('secure/inbound', 1), NO_PUBLISH],
  'publish own private': [(peer) => peer.publish(`priv/${peer.subject}`, 1), NO_PUBLISH],
  'publish another\'s private': [(peer) => peer.publish('priv/you', 1), NO_PUBLISH],
  message: [(peer) => peer.say({ type: 'message', data: { payload: 1 } }), ''],
};

// What needs nothing, and what no permission gives.
const always = ['subscribe news', 'unsubscribe news', 'unsubscribe secure/a', 'subscribe own private', 'subscribe the subject\'s private', 'message'];
const never = ['subscribe another\'s private'];
const anyPublish = Object.keys(actions).filter((name) => name.startsWith('publish'));
const anySecure = ['subscribe secure/a', 'subscribe secure/inbound'];

const rows = [
  [[], []],
  [[''], []],
  [['*'], []],
  [['realtime:*'], []],
  [[WRITE], []],
  [[READ], []],
  [[WRITE.slice(0, -1)], []],
  [['Realtime:publisher:write:topic:*'], []],
  [['realtime:publisher:read:topic:*', 'realtime:subscriber:write:topic:*'], []],
  [['realtime:admin:manage:connections', 'realtime:admin:manage:subscribers', 'realtime:admin:manage:application'], []],
  [[PUBLISH_ALL], anyPublish],
  [[SUBSCRIBE_ALL], anySecure],
  [EVERYTHING, [...anyPublish, ...anySecure]],
  [[`${WRITE}news`], ['publish news']],
  [[`${WRITE}new`], []],
  [[`${WRITE}News`], []],
  [[`${WRITE}n*s`], ['publish news']],
  [[`${WRITE}secure/*`], ['publish secure/a', 'publish secure/inbound']],
  [[`${WRITE}priv/*`], ['publish own private', 'publish another\'s private']],
  [[`${WRITE}priv/me*`], ['publish own private']],
  [[`${READ}secure/*`], anySecure],
  [[`${READ}secure/a`], ['subscribe secure/a']],
  [[`${READ}secure/inbound`], ['subscribe secure/inbound']],
  [[`${READ}priv/*`], []],
  [[`${READ}news`, `${WRITE}main`], ['publish main']],
];

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

async function done(permissions, act) {
  // Another subject each time: one alone would dial too fast.
  const subject = unique('me');
  const peer = await Peer.open(server, { token: clientToken(server, permissions, { sub: subject }) });
  peer.subject = subject;
  act(peer);
  const end = await Promise.race([peer.closed, peer.settled().catch(() => peer.closed)]);
  peer.close();
  await peer.closed;
  return end.code ? end : undefined;
}

for (const [name, [act, reason]] of Object.entries(actions)) {
  test(`${name}: every permission`, async () => {
    for (const [permissions, allowed] of rows) {
      const end = await done(permissions, act);
      const what = `${name} with ${JSON.stringify(permissions)}: ${JSON.stringify(end)}`;
      if (always.includes(name) || allowed.includes(name)) assert.equal(end, undefined, what);
      else assert.deepEqual(end, { code: 1008, reason }, what);
      assert.ok(!never.includes(name) || end, what);
    }
  });
}
