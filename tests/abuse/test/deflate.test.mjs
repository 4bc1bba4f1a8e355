// Compression as a weapon: what inflates beyond the limit is stopped while it inflates, and secrets are never compressed (L7, L8).

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { describe, test } from 'node:test';
import zlib from 'node:zlib';
import { request } from '../../lib/http.mjs';
import { OP, deflate, frame } from '../../lib/socket.mjs';
import { ACTION, Wire } from '../../lib/wire.mjs';
import { bounded, closedWithin, guarded } from '../guard.mjs';

const guard = guarded();
const connect = (params = {}) => Wire.connect(guard.server, params, { compress: true });
const compressed = (payload, options) => frame(OP.text, deflate(payload), { rsv: 4, ...options });

const zeros = deflate(Buffer.alloc(64 * 1024 * 1024)); // 64 MiB in 64 KiB

test('a compressed message is understood', async (t) => {
  const wire = await connect();
  t.after(() => wire.destroy());
  assert.ok(wire.socket.compressed, 'the server agrees to permessage-deflate');
  wire.socket.write(compressed(Buffer.from(JSON.stringify({ action: 0, id: 'small' }))));
  await wire.next((m) => m.id === 'small', 'the answer');
});

describe('bombs', () => {
  test('64 KiB that are 64 MiB: 1009, and little memory', async () => {
    await bounded(guard.server, 3, async () => {
      const wire = await connect();
      wire.socket.write(frame(OP.text, zeros, { rsv: 4 }));
      assert.equal((await closedWithin(wire.socket, 3000))?.code, 1009);
    });
  });

  test('in pieces', async () => {
    await bounded(guard.server, 3, async () => {
      const wire = await connect();
      const size = 1000;
      for (let at = 0; at < zeros.length; at += size) {
        const last = at + size >= zeros.length;
        const opcode = at === 0 ? OP.text : OP.continuation;
        if (!wire.socket.write(frame(opcode, zeros.subarray(at, at + size), { rsv: at === 0 ? 4 : 0, fin: last }))) break;
      }
      assert.equal((await closedWithin(wire.socket, 3000))?.code, 1009);
    });
  });

  test('one after the other, on a hundred connections at once', async () => {
    await bounded(guard.server, 100, async () => {
      const wires = await Promise.all(Array.from({ length: 100 }, () => connect()));
      for (const wire of wires) wire.socket.write(frame(OP.text, zeros, { rsv: 4 }));
      for (const wire of wires) assert.equal((await closedWithin(wire.socket, 15_000))?.code, 1009);
    });
  });

  test('that stay just under the limit are only slow, and are answered', async () => {
    await bounded(guard.server, 16, async () => {
      const wire = await connect();
      const padded = JSON.stringify({ action: 0, id: 'padded', pad: ' '.repeat(400_000) });
      for (let i = 0; i < 50; i++) wire.socket.write(compressed(Buffer.from(padded)));
      for (let i = 0; i < 50; i++) await wire.next((m) => m.id === 'padded', 'the answer');
      wire.destroy();
    });
  });
});

describe('deflate that is none', () => {
  const cases = {
    'random bytes': crypto.randomBytes(2000),
    'a reserved block type': Buffer.from([0x07, 0, 0, 0]),
    'a stored block whose length lies': Buffer.from([0x00, 0xff, 0xff, 0x12, 0x34]),
    'a stream that is cut': deflate(Buffer.from(JSON.stringify({ action: 0, id: 'x'.repeat(5000) }))).subarray(0, 10),
    'a distance before the beginning': Buffer.from([0x4b, 0x04, 0x02, 0x00]),
  };
  for (const [what, payload] of Object.entries(cases)) {
    test(`${what}: a word and an end, or an error`, async () => {
      const wire = await connect();
      wire.socket.write(frame(OP.text, payload, { rsv: 4 }));
      const answer = await Promise.race([wire.next((m) => m.error, 'an error', 3000).catch(() => null), wire.closed]);
      assert.ok(answer, 'closed without a word');
      if (answer.code) assert.ok([1002, 1007, 1009].includes(answer.code), `close code ${answer.code}`);
      wire.destroy();
    });
  }

  test('a compressed control frame is 1002', async () => {
    const wire = await connect();
    wire.socket.write(frame(OP.ping, deflate('x'), { rsv: 4 }));
    assert.equal((await closedWithin(wire.socket, 1000))?.code, 1002);
  });

  test('inflated text that is no UTF-8 is 1007', async () => {
    const wire = await connect();
    wire.socket.write(compressed(Buffer.from([0x7b, 0xff, 0x7d])));
    assert.equal((await closedWithin(wire.socket, 1000))?.code, 1007);
  });
});

describe('secrets', () => {
  test('the frame with the connection key is not compressed beside text of the client\'s choice', async () => {
    const wire = await connect({ clientId: 'A'.repeat(300) });
    assert.equal(wire.seen[0].action, ACTION.CONNECTED);
    assert.equal(wire.wasCompressed[0], false);
    wire.destroy();
  });

  test('nobody gets compression who did not ask', async () => {
    const wire = await Wire.connect(guard.server);
    assert.equal(wire.socket.compressed, false);
    await wire.attach('plain');
    await wire.publish('plain', { data: 'x'.repeat(20_000) });
    await wire.message('plain');
    assert.ok(wire.wasCompressed.every((is) => is === false));
    wire.destroy();
  });
});

describe('offers of compression', () => {
  for (const offer of [
    'permessage-deflate; server_max_window_bits=7',
    'permessage-deflate; client_max_window_bits=99',
    'permessage-deflate; nonsense=1',
    'permessage-deflate; server_no_context_takeover; server_no_context_takeover',
    'x-unknown, permessage-deflate',
    ';;;,,,',
    'permessage-deflate; '.repeat(100),
  ]) {
    test(`${offer.slice(0, 60)}: agreed or passed over, the connection works`, async () => {
      const wire = await Wire.open(guard.server, {}, { headers: { 'Sec-WebSocket-Extensions': offer } }).catch((error) => error);
      if (wire instanceof Error) {
        assert.match(wire.message, / 400 /);
        return;
      }
      await wire.expect(ACTION.CONNECTED);
      await wire.roundTrip();
      wire.destroy();
    });
  }
});

describe('compressed HTTP bodies', () => {
  const small = Buffer.from(JSON.stringify({ name: 'zipped' }));
  const inflaters = { gzip: zlib.gzipSync, deflate: zlib.deflateSync };
  for (const [encoding, zip] of Object.entries(inflaters)) {
    test(`${encoding}: understood or refused, never taken for text`, async () => {
      const answer = await request(guard.server, 'POST', '/channels/zipped/messages', { raw: zip(small), headers: { 'content-encoding': encoding } });
      assert.ok([201, 400, 415].includes(answer.status), `status ${answer.status}`);
    });

    test(`${encoding}: a bomb is refused and costs little`, async () => {
      const bomb = zip(Buffer.alloc(256 * 1024 * 1024, 0x20), { level: 9 });
      const answer = await bounded(guard.server, 8, () =>
        request(guard.server, 'POST', '/channels/zipped/messages', { raw: bomb, headers: { 'content-encoding': encoding } }));
      assert.ok([400, 413, 415].includes(answer.status), `status ${answer.status}`);
      assert.ok(answer.body?.error?.code >= 40000);
    });
  }
});
