// Limits: reached exactly they hold, exceeded by one and by a hundredfold they answer with a code (L11).

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fs from 'node:fs';
import path from 'node:path';
import { provision, request } from '../../lib/http.mjs';
import { Server, temporaryDirectory } from '../../lib/server.mjs';
import { ACTION, PRESENCE, Wire } from '../../lib/wire.mjs';
import { bounded, guarded } from '../guard.mjs';

const guard = guarded();
const range = (count) => Array.from({ length: count }, (_, i) => i);

describe('the size of a message', () => {
  test('has fields in it that nobody knows, too', async (t) => {
    const wire = await Wire.connect(guard.server);
    t.after(() => wire.destroy());
    const field = (bytes) => ({ name: 'x', brandNew: 'y'.repeat(bytes - 'x'.length - 'brandNew'.length - 2) });
    assert.equal((await wire.publish('unknown-size', field(65_536))).action, ACTION.ACK);
    const refusal = await wire.publish('unknown-size', field(65_537));
    assert.equal(refusal.error?.code, 40009);
    const answer = await request(guard.server, 'POST', '/channels/unknown-size/messages', { body: field(65_537) });
    assert.equal(answer.body.error?.code, 40009);
  });
});

describe('channels on one connection', () => {
  test('200 are attached, the next is refused with 90010, a detached one makes room', async (t) => {
    const wire = await Wire.connect(guard.server);
    t.after(() => wire.destroy());
    for (const i of range(200)) wire.send({ action: ACTION.ATTACH, channel: `many-${i}` });
    for (const i of range(200)) await wire.expect(ACTION.ATTACHED, `many-${i}`);
    wire.send({ action: ACTION.ATTACH, channel: 'one-more' });
    const refusal = await wire.next((m) => m.channel === 'one-more', 'the refusal');
    assert.equal(refusal.action, ACTION.ERROR);
    assert.equal(refusal.error.code, 90010);
    await wire.attach('many-7'); // again is not one more
    wire.send({ action: ACTION.DETACH, channel: 'many-0' });
    await wire.expect(ACTION.DETACHED, 'many-0');
    await wire.attach('one-more');
  });

  test('20,000 attempts get an answer each and cost little', async (t) => {
    await bounded(guard.server, 48, async () => {
      const wire = await Wire.connect(guard.server);
      t.after(() => wire.destroy());
      for (const i of range(20_000)) wire.send({ action: ACTION.ATTACH, channel: `flood-${i}` });
      let attached = 0;
      let refused = 0;
      while (attached + refused < 20_000) {
        const m = await wire.next((x) => x.channel?.startsWith('flood-'), `answer ${attached + refused}`, 30_000);
        if (m.action === ACTION.ATTACHED) attached += 1;
        else if (m.error?.code === 90010) refused += 1;
        else assert.fail(JSON.stringify(m));
      }
      assert.equal(attached, 200);
    });
  });
});

describe('names', () => {
  test('of 2,048 bytes are names; longer ones are refused with a code', async (t) => {
    const wire = await Wire.connect(guard.server);
    t.after(() => wire.destroy());
    await wire.attach('n'.repeat(2048));
    for (const name of ['n'.repeat(2049), 'é'.repeat(1025), 'n'.repeat(200_000)]) {
      wire.send({ action: ACTION.ATTACH, channel: name });
      const refusal = await wire.next((m) => m.action === ACTION.ERROR, 'the refusal');
      assert.equal(refusal.channel, name);
      assert.equal(refusal.error.code, 40010);
      assert.equal((await wire.publish(name, { name: 'x' })).error?.code, 40010);
    }
    const answer = await request(guard.server, 'GET', `/channels/${'n'.repeat(2049)}/messages`);
    assert.ok([400, 414, 431].includes(answer.status));
  });

  test('of clients and messages count as part of the message', async (t) => {
    const wire = await Wire.connect(guard.server);
    t.after(() => wire.destroy());
    for (const message of [{ name: 'n'.repeat(70_000) }, { clientId: 'c'.repeat(70_000) }, { extras: { headers: { x: 'e'.repeat(70_000) } } }]) {
      const nack = await wire.publish('parts', message);
      // A clientId has a limit of its own, 1,024 bytes.
      assert.equal(nack.error?.code, message.clientId ? 40012 : 40009, Object.keys(message)[0]);
    }
    const long = await Wire.open(guard.server, { clientId: 'c'.repeat(20_000) }).catch((error) => error);
    if (long instanceof Error) assert.match(long.message, / (400|414|431) /);
    else {
      const first = await long.next(() => true, 'an answer');
      if (first.action === ACTION.ERROR) assert.ok(first.error.code >= 40000);
      long.destroy();
    }
  });
});

describe('messages', () => {
  test('a frame of many messages beyond the size is refused whole', async (t) => {
    const wire = await Wire.connect(guard.server);
    t.after(() => wire.destroy());
    await wire.attach('bulk');
    const nack = await wire.publish('bulk', range(100).map((i) => ({ name: `${i}`, data: 'x'.repeat(1000) })));
    assert.equal(nack.error?.code, 40009);
    assert.equal((await wire.publish('bulk', { name: 'fence' })).action, ACTION.ACK);
    assert.equal((await wire.message('bulk')).messages[0].name, 'fence');
  });

  test('a frame of very many empty messages is refused or taken whole', async (t) => {
    await bounded(guard.server, 64, async () => {
      const wire = await Wire.connect(guard.server);
      t.after(() => wire.destroy());
      const answer = await wire.publish('empties', range(50_000).map(() => ({})));
      if (answer.action === ACTION.NACK) assert.ok([40009, 40034].includes(answer.error.code), JSON.stringify(answer.error));
      else assert.equal(answer.res[0].serials.length, 50_000);
    });
  });

  test('REST refuses bodies beyond its limit before it has read them', async () => {
    await bounded(guard.server, 24, async () => {
      for (const size of [3 * 1024 * 1024, 64 * 1024 * 1024]) {
        const raw = Buffer.alloc(size, 0x20);
        const answer = await request(guard.server, 'POST', '/messages', { raw }).catch((error) => error);
        if (answer instanceof Error) continue; // cut off in the middle of a body that nobody would read
        assert.ok([400, 413].includes(answer.status), `status ${answer.status}`);
        assert.ok(answer.body.error.code >= 40000);
      }
    });
  });
});

describe('how fast one connection publishes', () => {
  const limited = async (t, limits) => {
    const dir = temporaryDirectory();
    fs.writeFileSync(path.join(dir, 'fanfare.toml'), `[limits]\n${limits}\n`);
    const server = await Server.start({ dir, args: ['--config', path.join(dir, 'fanfare.toml')] });
    t.after(() => server.stop());
    return server;
  };

  test('is announced, holds exactly, and what is too fast is a NACK with 42911', async (t) => {
    const server = await limited(t, 'messages_per_second_max = 20');
    const wire = await Wire.connect(server);
    t.after(() => wire.destroy());
    assert.equal(wire.connected.connectionDetails.maxInboundRate, 20);
    await wire.attach('fast');
    const answers = await Promise.all(range(200).map((i) => wire.publish('fast', { name: `m${i}` })));
    const taken = answers.filter((answer) => answer.action === ACTION.ACK).length;
    const refused = answers.filter((answer) => answer.error?.code === 42911 && answer.error.statusCode === 429).length;
    assert.equal(taken + refused, 200, 'nothing is silent');
    assert.ok(taken >= 20 && taken <= 25, `${taken} taken`);
    const delivered = new Set();
    while (delivered.size < taken) for (const m of (await wire.message('fast')).messages) delivered.add(m.name);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    assert.equal((await wire.publish('fast', { name: 'later' })).action, ACTION.ACK, 'the connection lives');
    const other = await Wire.connect(server);
    assert.equal((await other.publish('fast', { name: 'other' })).action, ACTION.ACK, 'it is each connection\'s own');
    other.destroy();
  });

  test('counts the messages of an array and presence events', async (t) => {
    const server = await limited(t, 'messages_per_second_max = 20');
    const wire = await Wire.connect(server, { clientId: 'ann' });
    t.after(() => wire.destroy());
    await wire.attach('arrays');
    assert.equal((await wire.publish('arrays', range(50).map((i) => ({ name: `${i}` })))).action, ACTION.ACK, 'alone it passes');
    assert.equal((await wire.publish('arrays', { name: 'too early' })).error?.code, 42911);
    assert.equal((await wire.presence('arrays', { action: PRESENCE.enter })).error?.code, 42911);
  });

  test('has no limit by default, and none is announced', async (t) => {
    const wire = await Wire.connect(guard.server);
    t.after(() => wire.destroy());
    assert.equal('maxInboundRate' in wire.connected.connectionDetails, false);
    const answers = await Promise.all(range(3000).map((i) => wire.publish('unlimited', { name: `${i}` })));
    assert.ok(answers.every((answer) => answer.action === ACTION.ACK));
  });
});

describe('members of a channel', () => {
  test('as many as the app allows, one more is 91003, ten thousand more are 91003 each', async (t) => {
    const app = await provision(guard.server, { limits: { presence: { maxMembers: 20 } } });
    const wire = await Wire.connect(app);
    t.after(() => wire.destroy());
    await wire.attach('full');
    for (const i of range(20)) assert.equal((await wire.presence('full', { action: PRESENCE.enter, clientId: `c${i}` })).action, ACTION.ACK);
    await bounded(guard.server, 24, async () => {
      const first = wire.msgSerial;
      for (const i of range(10_000)) {
        wire.send({ action: ACTION.PRESENCE, channel: 'full', msgSerial: wire.msgSerial++, presence: [{ action: PRESENCE.enter, clientId: `more${i}` }] });
      }
      for (const i of range(10_000)) {
        assert.equal((await wire.outcome(first + i, 30_000)).error?.code, 91003);
      }
    });
    const page = await request(app, 'GET', '/channels/full/presence?limit=1000');
    assert.equal(page.body.length, 20);
  });

  test('a batch that would pass the limit enters nobody, or as many as fit', async (t) => {
    const app = await provision(guard.server, { limits: { presence: { maxMembers: 5 } } });
    const wire = await Wire.connect(app);
    t.after(() => wire.destroy());
    await wire.attach('batch');
    const answer = await wire.presence('batch', range(8).map((i) => ({ action: PRESENCE.enter, clientId: `c${i}` })));
    assert.equal(answer.error?.code, 91003);
    assert.ok((await request(app, 'GET', '/channels/batch/presence')).body.length <= 5);
  });
});

test('a thousand connections come and go, and leave nothing open behind', async () => {
  const { server } = guard;
  const before = server.openFiles();
  for (let round = 0; round < 5; round++) {
    const wires = await Promise.all(range(200).map(() => Wire.connect(server)));
    await Promise.all(wires.map((wire, i) => wire.attach(`crowd-${i % 20}`)));
    for (const [i, wire] of wires.entries()) i % 2 ? wire.destroy() : wire.close();
    await Promise.all(wires.map((wire) => wire.closed));
  }
  const deadline = Date.now() + 10_000;
  while (server.openFiles() > before + 5 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(server.openFiles() <= before + 5, `${server.openFiles()} open files, ${before} before`);
});
