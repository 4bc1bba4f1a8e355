// MessagePack that announces more than it holds, nests, or is cut anywhere: coded answers, no memory for promises (L10, L9).

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { describe, test } from 'node:test';
import { MSGPACK_TYPE, request } from '../../lib/http.mjs';
import { encode } from '../../lib/msgpack.mjs';
import { ACTION, Wire } from '../../lib/wire.mjs';
import { bounded, codedAnswer, guarded } from '../guard.mjs';

const guard = guarded();
const connect = () => Wire.connect(guard.server, {}, { binary: true });

const bytes = (...parts) => Buffer.concat(parts.map((part) => (Array.isArray(part) ? Buffer.from(part) : typeof part === 'string' ? Buffer.from(part, 'hex') : part)));
const field = (name) => encode(name);
const huge = [0xff, 0xff, 0xff, 0xff];

const bombs = {
  'an array of 4 G': bytes([0xdd], huge),
  'a map of 4 G': bytes([0xdf], huge),
  'text of 4 G': bytes([0xdb], huge),
  'bytes of 4 G': bytes([0xc6], huge),
  'an ext of 4 G': bytes([0xc9], huge, [1]),
  'messages that are an array of 4 G': bytes([0x84], field('action'), [15], field('channel'), encode('abuse'), field('msgSerial'), [0], field('messages'), [0xdd], huge),
  'a message that is a map of 4 G': bytes([0x82], field('action'), [15], field('messages'), [0x91, 0xdf], huge),
  'a payload of 4 G': bytes([0x82], field('action'), [15], field('messages'), [0x91, 0x81], field('data'), [0xc6], huge),
  'many arrays of 4 G, one in another': bytes(...Array.from({ length: 60 }, () => bytes([0xdd], huge))),
  'arrays 400,000 deep': Buffer.alloc(400_000, 0x91),
  'maps 100,000 deep': bytes(...Array.from({ length: 100_000 }, () => Buffer.from([0x81, 0xa1, 0x61]))),
  'extras 100,000 deep': bytes([0x84], field('action'), [15], field('channel'), encode('abuse'), field('msgSerial'), [0], field('messages'), [0x91, 0x81], field('extras'), ...Array.from({ length: 100_000 }, () => Buffer.from([0x81, 0xa1, 0x61])), [0xc0]),
};

const malformed = {
  nothing: Buffer.alloc(0),
  'the byte that is never used': Buffer.from([0xc1]),
  'a map that ends early': Buffer.from([0x82, 0xa6]),
  'text that is no UTF-8': bytes([0x81], field('action'), [0xa2, 0xc0, 0xaf]),
  'a key that is no UTF-8': bytes([0x82], field('action'), [0x00, 0xa1, 0xff, 0x00]),
  'a channel that is no UTF-8': bytes([0x82], field('action'), [10], field('channel'), [0xa2, 0xff, 0xfe]),
  'a channel that is bytes': bytes([0x82], field('action'), [10], field('channel'), [0xc4, 1, 0x61]),
  'an array': encode([1, 2, 3]),
  'a number': encode(15),
  nil: Buffer.from([0xc0]),
  'an action of text': encode({ action: 'MESSAGE' }),
  'an action that is NaN': bytes([0x81], field('action'), [0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]),
  'an action of 2^63': bytes([0x81], field('action'), [0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0]), // or passed over, as unknown
  'keys that are maps': Buffer.from([0x81, 0x80, 0x00]),
  'bytes after the end': bytes(encode({ action: 0 }), [0, 0, 0]),
  'an ext for a message': bytes([0x82], field('action'), [15], field('messages'), [0x91, 0xd4, 1, 0]),
};

describe('promises of size', () => {
  for (const [what, payload] of Object.entries(bombs)) {
    test(what, async () => {
      await bounded(guard.server, 8, async () => {
        const wire = await connect();
        await codedAnswer(wire, payload);
        wire.destroy();
      });
    });

    test(`${what}, as a REST body`, async () => {
      const headers = { 'content-type': MSGPACK_TYPE };
      for (const path of ['/channels/abuse-rest/messages', '/messages']) {
        const answer = await bounded(guard.server, 8, () => request(guard.server, 'POST', path, { raw: payload, headers }));
        assert.equal(answer.status, 400, path);
        assert.ok(answer.body.error.code >= 40000);
      }
    });
  }
});

describe('what is none', () => {
  for (const [what, payload] of Object.entries(malformed)) {
    test(what, async () => {
      const wire = await connect();
      if (what === 'an action of 2^63') {
        wire.socket.binary(payload);
        wire.send({ action: ACTION.HEARTBEAT, id: 'after' });
        await wire.next((m) => m.error || m.id === 'after', 'an error or the next answer');
      } else await codedAnswer(wire, payload);
      wire.destroy();
    });
  }
});

describe('a good message, damaged', () => {
  const good = encode({
    action: ACTION.MESSAGE, channel: 'damaged', msgSerial: 0,
    messages: [{ name: 'n', data: Buffer.from([1, 2, 3]), extras: { headers: { a: 1 } }, id: 'x', clientId: 'c' }],
  });

  test('cut at every byte is refused at every byte', async () => {
    for (let end = 1; end < good.length; end += 3) {
      const wire = await connect();
      await codedAnswer(wire, good.subarray(0, end));
      wire.destroy();
    }
  });

  test('with any bit turned round: an answer, an acknowledgement, or silence as for an unknown action; never the end of the server', async () => {
    for (let i = 0; i < 200; i++) {
      const bad = Buffer.from(good);
      bad[crypto.randomInt(bad.length)] ^= 1 << crypto.randomInt(8);
      const wire = await connect();
      wire.socket.binary(bad);
      wire.send({ action: ACTION.HEARTBEAT, id: 'after' });
      await Promise.race([wire.next((m) => m.id === 'after' || m.error, 'an answer', 4000), wire.closed]);
      wire.destroy();
    }
  });

  test('random bytes', async () => {
    for (let i = 0; i < 200; i++) {
      const wire = await connect();
      wire.socket.binary(crypto.randomBytes(1 + crypto.randomInt(300)));
      wire.send({ action: ACTION.HEARTBEAT, id: 'after' });
      await Promise.race([wire.next((m) => m.id === 'after' || m.error, 'an answer', 4000), wire.closed]);
      wire.destroy();
    }
  });
});

test('every width of number and text that is allowed is understood', async (t) => {
  const wire = await connect();
  t.after(() => wire.destroy());
  const name = (text) => bytes([0xdb, 0, 0, 0, text.length], Buffer.from(text)); // str32 where a fixstr would do
  const wide = bytes([0xdf, 0, 0, 0, 2], name('action'), [0xd3, 0, 0, 0, 0, 0, 0, 0, 0], name('id'), [0xda, 0, 2], Buffer.from('ok'));
  wire.socket.binary(wide);
  await wire.next((m) => m.action === 0 && m.id === 'ok', 'the heartbeat');
  wire.socket.binary(bytes([0x82], field('action'), [0xcb, 0, 0, 0, 0, 0, 0, 0, 0], field('id'), encode('float')));
  await Promise.race([wire.next((m) => m.id === 'float' || m.error, 'an answer'), wire.closed]);
});
