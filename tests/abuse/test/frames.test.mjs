// WebSocket frames that lie, never end, or break the rules: closed with the right code, before memory is spent (L5, L9).

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { describe, test } from 'node:test';
import { OP, frame } from '../../lib/socket.mjs';
import { Wire } from '../../lib/wire.mjs';
import { bounded, closedWithin, guarded } from '../guard.mjs';

const guard = guarded();
const connect = (options) => Wire.connect(guard.server, {}, options);

async function closesWith(code, bytes, { ms = 1000 } = {}) {
  const wire = await connect();
  wire.socket.write(bytes);
  const close = await closedWithin(wire.socket, ms);
  assert.ok(close, 'the server says why it closes');
  assert.equal(close.code, code);
}

describe('frames that are too large', () => {
  for (const [what, length] of Object.entries({ '1 GiB': 2 ** 30, '4 GiB and more': 2 ** 33, 'the largest of all': 2 ** 53 })) {
    test(`a header that announces ${what} is refused by itself`, async () => {
      await bounded(guard.server, 2, () => closesWith(1009, frame(OP.text, '{', { length })));
    });
  }

  test('a length with the highest bit set is no length', async () => {
    const bytes = Buffer.concat([Buffer.from([0x81, 0xff]), Buffer.alloc(8, 0xff), crypto.randomBytes(4)]);
    const wire = await connect();
    wire.socket.write(bytes);
    assert.ok([1002, 1009].includes((await closedWithin(wire.socket, 1000))?.code));
  });

  test('a message put together of pieces has the same limit', async () => {
    await bounded(guard.server, 4, async () => {
      const wire = await connect();
      const piece = Buffer.alloc(16 * 1024, 0x20);
      wire.socket.write(frame(OP.text, piece, { fin: false }));
      for (let i = 0; i < 1000 && wire.socket.write(frame(OP.continuation, piece, { fin: false })) !== undefined; i++) {
        if (wire.socket.closeFrame || wire.socket.tcp.destroyed) break;
        if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      // What is still on its way when the server closes resets the connection, and may take the close frame with it.
      const close = await closedWithin(wire.socket, 2000);
      if (close) assert.equal(close.code, 1009);
    });
  });

  test('forty attackers at once cost little', async () => {
    await bounded(guard.server, 48, async () => {
      const wires = await Promise.all(Array.from({ length: 40 }, () => connect()));
      for (const wire of wires) wire.socket.write(frame(OP.binary, Buffer.alloc(60_000), { length: 2 ** 31 }));
      for (const wire of wires) assert.equal((await closedWithin(wire.socket, 2000))?.code, 1009);
    });
  });
});

describe('floods of nothing', () => {
  test('a million empty fragments take no memory and no end', async () => {
    await bounded(guard.server, 4, async () => {
      const wire = await connect();
      wire.socket.write(frame(OP.text, '', { fin: false }));
      const many = Buffer.concat(Array.from({ length: 1000 }, () => frame(OP.continuation, '', { fin: false })));
      for (let i = 0; i < 1000 && !wire.socket.tcp.destroyed && !wire.socket.closeFrame; i++) {
        if (!wire.socket.write(many)) await new Promise((resolve) => wire.socket.tcp.once('drain', resolve).once('close', resolve));
      }
      wire.destroy();
      await wire.closed;
    });
  });

  test('a hundred thousand pings neither fill memory nor starve others', async () => {
    await bounded(guard.server, 4, async () => {
      const wire = await connect();
      wire.socket.tcp.pause(); // and never reads the answers
      const many = Buffer.concat(Array.from({ length: 1000 }, () => frame(OP.ping, Buffer.alloc(100))));
      const other = await connect();
      for (let i = 0; i < 100; i++) {
        if (wire.socket.tcp.destroyed) break;
        wire.socket.write(many);
        if (i % 10 === 0) await other.roundTrip();
      }
      await other.roundTrip();
      other.destroy();
      wire.destroy();
    });
  });

  test('heartbeats without end are a client\'s own problem', async () => {
    await bounded(guard.server, 8, async () => {
      const wire = await connect();
      wire.socket.tcp.pause();
      const beat = frame(OP.text, JSON.stringify({ action: 0, id: 'x'.repeat(200) }));
      const many = Buffer.concat(Array.from({ length: 500 }, () => beat));
      for (let i = 0; i < 100 && !wire.socket.tcp.destroyed; i++) {
        wire.socket.write(many);
        await new Promise((resolve) => setImmediate(resolve));
      }
      wire.destroy();
    });
  });
});

describe('frames against the rules are 1002', () => {
  const cases = {
    'no mask': frame(OP.text, '{"action":0}', { mask: false }),
    'an unknown opcode': frame(3, 'x'),
    'an unknown control opcode': frame(11, 'x'),
    'a reserved bit': frame(OP.text, '{}', { rsv: 1 }),
    'a compressed frame that was not agreed': frame(OP.text, '{}', { rsv: 4 }),
    'a continuation of nothing': frame(OP.continuation, 'x'),
    'a new message inside another': Buffer.concat([frame(OP.text, '{', { fin: false }), frame(OP.text, '}')]),
    'a ping of 126 bytes': frame(OP.ping, Buffer.alloc(126)),
    'a ping in pieces': frame(OP.ping, 'x', { fin: false }),
    'a close of one byte': frame(OP.close, Buffer.from([3])),
    'a close code that is none': frame(OP.close, Buffer.from([0, 0])),
    'a close code of its own use': frame(OP.close, Buffer.from([0x03, 0xed])),
  };
  for (const [what, bytes] of Object.entries(cases)) test(what, () => closesWith(1002, bytes));
});

describe('text that is no UTF-8 is 1007, at once', () => {
  const cases = {
    'a lone continuation byte': [0x80],
    'an overlong slash': [0xc0, 0xaf],
    'a surrogate': [0xed, 0xa0, 0x80],
    'beyond the last plane': [0xf4, 0x90, 0x80, 0x80],
    'a truncated character': [0x7b, 0xe2, 0x82],
    'the byte 0xff': [0xff],
  };
  for (const [what, bytes] of Object.entries(cases)) {
    test(what, () => closesWith(1007, frame(OP.text, Buffer.from(bytes))));
  }
  test('in the first piece, before the last one comes', async () => {
    await closesWith(1007, frame(OP.text, Buffer.from([0x7b, 0xff]), { fin: false }));
  });
  test('in the reason of a close', () => closesWith(1007, frame(OP.close, Buffer.from([0x03, 0xe8, 0xff]))));
});

describe('the wrong kind of frame', () => {
  test('binary where JSON was agreed, text where MessagePack was: coded, and the server lives', async () => {
    const json = await connect();
    json.socket.binary(Buffer.from([0x81, 0xa6, ...Buffer.from('action'), 0x00]));
    const packed = await connect({ binary: true });
    packed.socket.text('{"action":0,"id":"x"}');
    for (const wire of [json, packed]) {
      const end = await Promise.race([
        wire.next((m) => m.error || m.action === 0, 'an answer', 3000).catch(() => null),
        wire.closed.then((close) => close ?? 'reset'),
      ]);
      assert.notEqual(end, 'reset', 'closed without a word');
      wire.destroy();
    }
  });
});

test('control frames between the pieces of a message are answered, and the message arrives whole', async (t) => {
  const wire = await connect();
  t.after(() => wire.destroy());
  const ponged = new Promise((resolve) => (wire.socket.onControl = (kind, payload) => kind === 'pong' && resolve(payload.toString())));
  const text = JSON.stringify({ action: 0, id: 'häppchen' });
  const bytes = Buffer.from(text);
  for (const [i, byte] of bytes.entries()) {
    const opcode = i === 0 ? OP.text : OP.continuation;
    wire.socket.write(frame(opcode, Buffer.from([byte]), { fin: i === bytes.length - 1 }));
    if (i === 5) wire.socket.write(frame(OP.ping, 'between'));
  }
  assert.equal(await ponged, 'between');
  await wire.next((m) => m.action === 0 && m.id === 'häppchen', 'the answer');
});
