// JSON of every bad kind, over realtime and REST: a coded answer, quickly, and nothing else is touched (L6).

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { request } from '../../lib/http.mjs';
import { ACTION, Wire } from '../../lib/wire.mjs';
import { bounded, codedAnswer, guarded } from '../guard.mjs';

const guard = guarded();

const nested = (depth, open = '[', close = ']') => open.repeat(depth) + close.repeat(depth);
const message = (inner) => `{"action":15,"channel":"abuse","msgSerial":0,"messages":[${inner}]}`;

/** Texts that are no JSON, or no protocol message. */
const broken = {
  'no text': '',
  'only space': '   ',
  'an open brace': '{',
  'an open string': '{"action":"',
  'a trailing comma': '{"action":0,}',
  'two values': '{"action":0}{"action":0}',
  'a comment': '{/* */"action":0}',
  'single quotes': "{'action':0}",
  'a bare word': 'heartbeat',
  NaN: '{"action":NaN}',
  'a leading zero': '{"action":00}',
  'a control character': '{"action":0,"id":"\u0001"}',
  'a bad escape': '{"action":0,"id":"\\x41"}',
  'a lone surrogate escape': '{"action":0,"id":"\\ud800"}',
  'a byte order mark': '\ufeff{"action":0}',
  'an array': '[{"action":0}]',
  'a string': '"action"',
  'a number': '10',
  null: 'null',
  'an action of text': '{"action":"MESSAGE"}',
  'a negative action': '{"action":-1}',
  'an action of 1.5': '{"action":1.5}',
  'an action of 1e999': '{"action":1e999}',
  'an endless number': `{"action":0,"msgSerial":${'9'.repeat(5000)}}`,
  'messages that are an object': '{"action":15,"channel":"abuse","msgSerial":0,"messages":{}}',
  'messages of numbers': '{"action":15,"channel":"abuse","msgSerial":0,"messages":[1,2]}',
  'a channel that is a number': '{"action":10,"channel":5}',
  'a channel that is an object': '{"action":10,"channel":{"a":1}}',
  'params that are a list': '{"action":10,"channel":"abuse","params":[1]}',
  'a name that is a number': message('{"name":5}'),
  'an id that is an object': message('{"id":{}}'),
  'a clientId that is a list': message('{"clientId":["a"]}'),
  'extras that are text': message('{"extras":"x"}'),
};

/** May be passed over instead: unknown actions are, and so may be what stands in a field that the action does not use. */
const harmless = new Set(['a negative action', 'a lone surrogate escape', 'an endless number']);

describe('one bad frame', () => {
  for (const [what, text] of Object.entries(broken)) {
    test(what, async () => {
      const wire = await Wire.connect(guard.server);
      if (harmless.has(what)) {
        wire.socket.text(text);
        wire.send({ action: ACTION.HEARTBEAT, id: 'after' });
        await wire.next((m) => m.error || m.id === 'after', 'an error or the next answer');
      } else {
        await codedAnswer(wire, text);
      }
      wire.destroy();
    });
  }
});

describe('depth', () => {
  const deep = {
    'lists in data': message(`{"data":${nested(100_000)}}`),
    'objects in extras': message(`{"extras":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}`),
    'lists in an unknown field': `{"action":0,"id":"x","unknown":${nested(100_000)}}`,
    'brackets that never close': '['.repeat(400_000),
    'braces that never close': '{"a":'.repeat(80_000),
  };
  for (const [what, text] of Object.entries(deep)) {
    test(what, async () => {
      await bounded(guard.server, 16, async () => {
        const wire = await Wire.connect(guard.server);
        const started = process.hrtime.bigint();
        await codedAnswer(wire, text);
        const ms = Number(process.hrtime.bigint() - started) / 1e6;
        assert.ok(ms < 1000, `answered after ${ms.toFixed(0)} ms`);
        wire.destroy();
      });
    });
  }

  test('of 60 is fine in a payload, and comes back as it went in', async () => {
    const data = JSON.stringify({ deep: JSON.parse(nested(50)) });
    const answer = await request(guard.server, 'POST', '/channels/deep/messages', { body: { data, encoding: 'json' } });
    assert.equal(answer.status, 201);
    const [item] = (await request(guard.server, 'GET', '/channels/deep/messages')).body;
    assert.equal(item.data, data);
  });
});

describe('duplicate and hostile keys', () => {
  test('the same key twice has one meaning, the same every time', async (t) => {
    const wire = await Wire.connect(guard.server);
    t.after(() => wire.destroy());
    await wire.attach('dup');
    wire.socket.text('{"action":15,"channel":"dup","channel":"dup","msgSerial":0,"messages":[{"name":"one","name":"two"}]}');
    const outcome = await wire.outcome(0);
    if (outcome.action === ACTION.ACK) {
      const got = await wire.message('dup');
      assert.ok(['one', 'two'].includes(got.messages[0].name));
    } else assert.ok(outcome.error.code >= 40000);
  });

  test('names that mean something to other languages are just names', async (t) => {
    const wire = await Wire.connect(guard.server);
    t.after(() => wire.destroy());
    await wire.attach('proto');
    wire.socket.text('{"action":15,"channel":"proto","msgSerial":0,"messages":[{"name":"__proto__","extras":{"headers":{"__proto__":"x","constructor":"y"}}}]}');
    wire.msgSerial = 1;
    const got = await wire.message('proto');
    assert.equal(got.messages[0].name, '__proto__');
  });

  test('thousands of keys are read in linear time', async () => {
    const keys = Array.from({ length: 20_000 }, (_, i) => `"k${i}":0`).join(',');
    const wire = await Wire.connect(guard.server);
    const started = Date.now();
    wire.socket.text(`{"action":0,"id":"many","many":{${keys}}}`);
    await wire.next((m) => m.id === 'many' || m.error, 'an answer', 4000);
    assert.ok(Date.now() - started < 2000);
    wire.destroy();
  });
});

describe('numbers', () => {
  for (const msgSerial of ['-1', '1.5', '9007199254740993', '1e30', '"0"', 'null', '{}']) {
    test(`msgSerial ${msgSerial} is answered somehow, and the server goes on`, async () => {
      const wire = await Wire.connect(guard.server);
      wire.socket.text(`{"action":15,"channel":"numbers","msgSerial":${msgSerial},"messages":[{"name":"x"}]}`);
      const answer = await Promise.race([
        wire.next((m) => [ACTION.ACK, ACTION.NACK, ACTION.ERROR, ACTION.DISCONNECTED].includes(m.action), 'an answer', 4000),
        wire.closed,
      ]);
      assert.ok(answer, 'closed without a word');
      wire.destroy();
    });
  }

  test('in flags are taken as far as they go', async (t) => {
    for (const flags of [-1, 2 ** 40, 1e300, 0.5]) {
      const wire = await Wire.connect(guard.server);
      t.after(() => wire.destroy());
      wire.send({ action: ACTION.ATTACH, channel: 'flags', flags });
      await wire.next((m) => [ACTION.ATTACHED, ACTION.ERROR].includes(m.action), `an answer to flags ${flags}`);
    }
  });
});

describe('REST bodies', () => {
  for (const [what, text] of Object.entries(broken)) {
    test(what, async () => {
      for (const path of ['/channels/abuse-rest/messages', '/messages', `/keys/${guard.server.key.split(':')[0]}/requestToken`]) {
        const answer = await request(guard.server, 'POST', path, { raw: text });
        assert.ok(answer.status < 500, `${path}: ${answer.status}`);
        if (answer.status >= 400) assert.ok(answer.body.error.code >= 40000, path);
      }
    });
  }

  test('deep ones are refused', async () => {
    for (const text of [nested(100_000), '{"data":'.repeat(20_000), message(`{"data":${nested(50_000)}}`)]) {
      const answer = await bounded(guard.server, 16, () => request(guard.server, 'POST', '/channels/abuse-rest/messages', { raw: text }));
      assert.equal(answer.status, 400);
    }
  });
});
