// What the issuer of a JWT says of its bearer: user claims that others can trust, and how fast the bearer may publish.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Proxy } from '../../lib/proxy.mjs';
import { Server } from '../../lib/server.mjs';
import { jwt, request } from '../../lib/http.mjs';
import { both, channelName, connected, gather, range, refused, rest, test, watchPresence, within } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

const token = (claims) => jwt(server.key, { claims: { 'x-ably-clientId': 'alice', ...claims } });

describe('a user claim', () => {
  both('goes out with every message and presence event of its bearer, and nobody else\'s', async (t, binary) => {
    const name = channelName(t);
    const claim = JSON.stringify({ role: 'moderator', name: 'Älice "A"' });
    const alice = await connected(t, server, { token: token({ [`ably.channel.${name}`]: claim }), useBinaryProtocol: binary });
    const bob = await connected(t, server, { clientId: 'bob', useBinaryProtocol: !binary });
    const messages = await gather(bob.channels.get(name));
    const members = await watchPresence(bob.channels.get(name));
    const hers = alice.channels.get(name);
    await hers.publish('plain', 1n.toString());
    await hers.publish({ name: 'with extras', extras: { headers: { a: 'b' }, userClaim: 'forged' } });
    await hers.publish([{ name: 'one' }, { name: 'two' }]);
    await bob.channels.get(name).publish({ name: 'bob\'s', extras: { userClaim: claim } });
    await bob.channels.get(name).publish('bob\'s plain', null);
    await messages.until(6);
    const said = Object.fromEntries(messages.items.map((m) => [m.name, m.extras]));
    assert.deepEqual(said, {
      plain: { userClaim: claim },
      'with extras': { headers: { a: 'b' }, userClaim: claim },
      one: { userClaim: claim },
      two: { userClaim: claim },
      'bob\'s': {},
      'bob\'s plain': undefined,
    });
    await hers.presence.enter('here');
    const entered = await members.until((m) => m.action === 'enter' && m.clientId === 'alice', 'alice enters');
    assert.deepEqual(entered.extras, { userClaim: claim });
    await bob.channels.get(name).presence.enter();
    const [member] = (await bob.channels.get(name).presence.get({ clientId: 'alice' }));
    assert.equal(member.extras.userClaim, claim);
    assert.equal((await bob.channels.get(name).presence.get({ clientId: 'bob' }))[0].extras?.userClaim, undefined);
    const [, , , , first] = (await rest(server).channels.get(name).history()).items;
    assert.deepEqual(first.extras, said['with extras'], 'the history says the same');
  });

  test('is that of the most specific resource, and of no channel that is not meant', async (t) => {
    const space = channelName(t);
    const bearer = token({
      [`ably.channel.${space}:*`]: 'any', [`ably.channel.${space}:one`]: 'one', 'ably.channel.other': 'other',
    });
    const listener = await connected(t, server);
    for (const [name, claim] of [[`${space}:one`, 'one'], [`${space}:two`, 'any'], [`${space}`, undefined]]) {
      const got = await gather(listener.channels.get(name));
      await request(server, 'POST', `/channels/${name}/messages`, { token: bearer, body: { name: 'x' } });
      const [message] = await got.until(1);
      assert.equal(message.extras?.userClaim, claim, name);
    }
  });
});

describe('a publish rate', () => {
  test('holds for each channel, and what is refused is told', async (t) => {
    const [slow, free] = [`slow:${channelName(t)}`, channelName(t)];
    const alice = await connected(t, server, { token: token({ 'ably.limits.publish.perAttachment.maxRate.slow:*': 2 }) });
    const got = await gather((await connected(t, server)).channels.get(slow));
    const channel = alice.channels.get(slow);
    const outcomes = await Promise.allSettled(range(6).map((i) => channel.publish('n', String(i))));
    assert.deepEqual(outcomes.map((o) => o.status), ['fulfilled', 'fulfilled', ...range(4).map(() => 'rejected')]);
    for (const { reason } of outcomes.slice(2)) {
      assert.equal(reason.code, 42911);
      assert.equal(reason.statusCode, 429);
      assert.match(reason.message, /2 messages a second/);
    }
    for (const i of range(20)) await alice.channels.get(free).publish('n', String(i));
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await channel.publish([{ name: 'n', data: '6' }, { name: 'n', data: '7' }]);
    await refused(channel.publish('n', '8'), 42911, 429);
    await got.until(4);
    assert.deepEqual(got.items.map((m) => m.data), ['0', '1', '6', '7']);
  });

  test('is not renewed by a resume', async (t) => {
    const proxy = await Proxy.to(server);
    t.after(() => proxy.close());
    const claims = { 'ably.limits.publish.perAttachment.maxRate.*': 0.05 };
    const alice = await connected(t, server, { token: token(claims), port: proxy.port });
    const channel = alice.channels.get(channelName(t));
    await channel.publish('one in twenty seconds', null);
    const { id } = alice.connection;
    const resumed = within(15_000, alice.connection.once('connected'), 'the connection again');
    proxy.cut();
    await resumed;
    assert.equal(alice.connection.id, id);
    await refused(channel.publish('another', null), 42911, 429);
  });

  test('of zero allows nothing', async (t) => {
    const alice = await connected(t, server, { token: token({ 'ably.limits.publish.perAttachment.maxRate.*': 0 }) });
    await refused(alice.channels.get(channelName(t)).publish('x', null), 42911, 429);
  });
});
