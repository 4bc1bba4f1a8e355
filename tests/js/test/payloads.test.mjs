// Payloads and extras through every pair of formats: what comes out is what went in.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { Wire } from '../../lib/wire.mjs';
import { request } from '../../lib/http.mjs';
import { Ably, channelName, connected, gather, range, rest, test } from '../sdk.mjs';

let server;
before(async () => (server = await Server.start()));
after(() => server.stop());

const everyByte = Buffer.from(range(256));
const payloads = {
  text: 'plain',
  'empty text': '',
  'text of every plane': 'aé漢😅\u0000\u2028\u2029\\"\u007f\u{10ffff}',
  bytes: everyByte,
  'no bytes': Buffer.alloc(0),
  'bytes that are no UTF-8': Buffer.from([0xff, 0xfe, 0xc0, 0x80]),
  object: { a: 1, b: [true, null, 'x', 1.5, -7], c: { deep: { deeper: {} } }, 'ключ': '值' },
  array: [1, 'two', { three: 3 }, []],
  'text that looks like JSON': '{"not":"parsed"}',
  'text that looks like base64': 'AAECAw==',
  nothing: null,
};

function same(got, sent, what) {
  if (Buffer.isBuffer(sent)) {
    assert.ok(Buffer.isBuffer(got) || got instanceof ArrayBuffer, `${what}: bytes expected, got ${typeof got}`);
    assert.equal(Buffer.from(got).toString('hex'), sent.toString('hex'), what);
  } else if (sent === null) assert.ok(got === undefined || got === null, what);
  else assert.deepEqual(got, sent, what);
}

for (const [from, to] of [[false, false], [false, true], [true, false], [true, true]]) {
  const label = `${from ? 'msgpack' : 'json'} to ${to ? 'msgpack' : 'json'}`;
  for (const cipher of [false, true]) {
    test(`${label}${cipher ? ', encrypted' : ''}: realtime, REST and history`, async (t) => {
      const name = channelName(t);
      const options = cipher ? { cipher: { key: await Ably.Realtime.Crypto.generateRandomKey(256) } } : {};
      const sender = await connected(t, server, { useBinaryProtocol: from });
      const receiver = await connected(t, server, { useBinaryProtocol: to });
      const got = await gather(receiver.channels.get(name, options));
      // The SDK encrypts even nothing; that is its business.
      const sent = Object.entries(payloads).filter(([, value]) => !(cipher && value === null));
      const senders = [sender.channels.get(name, options), rest(server, { useBinaryProtocol: from }).channels.get(name, options)];
      for (const channel of senders) {
        for (const [key, value] of sent) await channel.publish(key, value);
      }
      const expected = senders.flatMap(() => sent);
      await got.until(expected.length);
      expected.forEach(([key, value], i) => {
        assert.equal(got.items[i].name, key);
        same(got.items[i].data, value, key);
        assert.ok(!got.items[i].encoding, `${key}: nothing of the encoding is left (${got.items[i].encoding})`);
      });
      const page = await rest(server, { useBinaryProtocol: to }).channels.get(name, options).history({ direction: 'forwards' });
      assert.equal(page.items.length, expected.length);
      expected.forEach(([key, value], i) => same(page.items[i].data, value, `history: ${key}`));
    });
  }
}

describe('on the wire', () => {
  const wires = (t) =>
    Promise.all([false, true].map(async (binary) => {
      const wire = await Wire.connect(server, {}, { binary });
      t.after(() => wire.destroy());
      return wire;
    }));

  test('bytes are base64 in JSON and bin in MessagePack', async (t) => {
    const [json, binary] = await wires(t);
    const name = channelName(t);
    await json.attach(name);
    await binary.attach(name);
    await json.publish(name, { data: everyByte.toString('base64'), encoding: 'base64' });
    await binary.publish(name, { data: everyByte });
    await binary.publish(name, { data: everyByte, encoding: 'utf-8/cipher+aes-256-cbc' });
    for (const encoding of [undefined, undefined, 'utf-8/cipher+aes-256-cbc']) {
      const [inJson] = (await json.message(name)).messages;
      assert.equal(inJson.data, everyByte.toString('base64'));
      assert.equal(inJson.encoding, encoding ? `${encoding}/base64` : 'base64');
      const [inBinary] = (await binary.message(name)).messages;
      assert.ok(Buffer.isBuffer(inBinary.data), 'bin, not str');
      assert.deepEqual(inBinary.data, everyByte);
      assert.ok((inBinary.encoding ?? undefined) === encoding || (!encoding && inBinary.encoding === ''));
    }
  });

  test('JSON text and unknown encodings pass as they are', async (t) => {
    const [json, binary] = await wires(t);
    const name = channelName(t);
    await json.attach(name);
    await binary.attach(name);
    const cases = [
      { data: '{"a": [1,  2]}', encoding: 'json' },
      { data: 'testData', encoding: 'choahofhpxf' },
      { data: '{"foo":"bar"}', encoding: 'json/utf-8' },
    ];
    for (const message of cases) await json.publish(name, message);
    for (const message of cases) {
      for (const wire of [json, binary]) {
        const { data, encoding } = (await wire.message(name)).messages[0];
        assert.deepEqual({ data, encoding }, message);
      }
    }
  });

  for (const binary of [false, true]) {
    test(`a raw object or array becomes JSON text (${binary ? 'msgpack' : 'json'})`, async (t) => {
      const [json] = await wires(t);
      const name = channelName(t);
      await json.attach(name);
      for (const value of [{ a: { b: [1, 2] } }, [1, 'x', null]]) {
        const path = `/channels/${encodeURIComponent(name)}/messages`;
        assert.equal((await request(server, 'POST', path, { binary, body: { data: value } })).status, 201);
        const [message] = (await json.message(name)).messages;
        assert.equal(typeof message.data, 'string');
        assert.equal(message.encoding, 'json');
        assert.deepEqual(JSON.parse(message.data), value);
      }
    });
  }
});

describe('extras', () => {
  const extras = {
    headers: { text: 'x', number: 26095, fraction: 1.5, negative: -3, yes: true, no: false, 'ключ': '😅' },
    ref: { type: 'com.example', timeserial: '0123' },
  };

  for (const [from, to] of [[false, false], [false, true], [true, false], [true, true]]) {
    test(`${from ? 'msgpack' : 'json'} to ${to ? 'msgpack' : 'json'}: equal, in the same order, with nothing added`, async (t) => {
      const name = channelName(t);
      const sender = await connected(t, server, { useBinaryProtocol: from });
      const receiver = await connected(t, server, { useBinaryProtocol: to });
      const got = await gather(receiver.channels.get(name));
      await sender.channels.get(name).publish({ name: 'e', data: 'x', extras });
      const [message] = await got.until(1);
      assert.equal(JSON.stringify(message.extras), JSON.stringify(extras));
      const page = await rest(server, { useBinaryProtocol: to }).channels.get(name).history();
      assert.equal(JSON.stringify(page.items[0].extras), JSON.stringify(extras));
    });
  }

  test('a null inside survives, in either format', async (t) => {
    const name = channelName(t);
    const wires = await Promise.all([false, true].map((binary) => Wire.connect(server, {}, { binary })));
    t.after(() => wires.forEach((wire) => wire.destroy()));
    for (const wire of wires) await wire.attach(name);
    for (const from of wires) {
      await from.publish(name, { extras: { headers: { a: null, b: [null] } } }); // SDKs drop such entries before sending
      for (const to of wires) assert.deepEqual((await to.message(name)).messages[0].extras, { headers: { a: null, b: [null] } });
    }
  });

  test('JSON in, JSON out: not one byte changes', async (t) => {
    const name = channelName(t);
    const wire = await Wire.connect(server);
    t.after(() => wire.destroy());
    await wire.attach(name);
    const text = '{"headers":{"price":1.50,"big":12345678901234567890,"exp":1e3,"esc":"\\u00e9\\/"},"ai":{"x":[ ]}}';
    wire.socket.text(`{"action":15,"channel":${JSON.stringify(name)},"msgSerial":0,"messages":[{"extras":${text}}]}`);
    wire.msgSerial = 1;
    await wire.message(name);
    const frame = wire.raw.find((raw) => raw.includes('"extras"')).toString();
    assert.ok(frame.includes(text), `sent ${text}\ngot ${frame}`);
  });

  for (const [what, bad] of Object.entries({ text: 'x', 'an array': [1], 'a number': 5 })) {
    test(`${what} is refused`, async (t) => {
      const wire = await Wire.connect(server);
      t.after(() => wire.destroy());
      const nack = await wire.publish('extras', { extras: bad });
      assert.equal(nack.error?.code, 40032, JSON.stringify(nack));
    });
  }
});
