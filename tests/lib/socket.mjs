// A WebSocket client by hand on a TCP socket: it can send what no library would, and sees what the server really sent.

import crypto from 'node:crypto';
import net from 'node:net';
import zlib from 'node:zlib';

export const OP = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

/** One frame as bytes. `length` lies about the payload's length where a test wants that. */
export function frame(opcode, payload = Buffer.alloc(0), { fin = true, rsv = 0, mask = true, length } = {}) {
  const body = Buffer.from(payload);
  const n = length ?? body.length;
  const size = n < 126 ? 0 : n < 65536 ? 2 : 8;
  const head = Buffer.alloc(2 + size);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (mask ? 0x80 : 0) | (size === 0 ? n : size === 2 ? 126 : 127);
  if (size === 2) head.writeUInt16BE(n, 2);
  if (size === 8) head.writeBigUInt64BE(BigInt(n), 2);
  if (!mask) return Buffer.concat([head, body]);
  const key = crypto.randomBytes(4);
  for (let i = 0; i < body.length; i++) body[i] ^= key[i & 3];
  return Buffer.concat([head, key, body]);
}

/** A payload as permessage-deflate sends it: raw deflate without the empty block at the end. */
export function deflate(payload) {
  const out = zlib.deflateRawSync(payload, { finishFlush: zlib.constants.Z_SYNC_FLUSH, level: 9 });
  return out.subarray(0, out.length - 4);
}

const inflate = (payload) =>
  zlib.inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])]), {
    finishFlush: zlib.constants.Z_SYNC_FLUSH,
  });

/** Resets a TCP connection. Node never frees one that is reset after its end was sent, so such a one is only destroyed. */
export function reset(tcp) {
  if (tcp.destroyed || tcp.writableEnded) tcp.destroy();
  else tcp.resetAndDestroy();
}

export class Socket {
  /** Connects and upgrades. `onMessage` sees whole messages, `onControl` pings and pongs. */
  static async open({ port, host = '127.0.0.1', path = '/', headers = {}, compress = false }) {
    const tcp = net.connect({ port, host, noDelay: true });
    await new Promise((resolve, reject) => tcp.once('connect', resolve).once('error', reject));
    const socket = new Socket(tcp);
    const all = {
      Host: `${host}:${port}`,
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': crypto.randomBytes(16).toString('base64'),
      ...(compress ? { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_no_context_takeover; server_no_context_takeover' } : {}),
      ...headers,
    };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    tcp.write(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
    await socket.#upgraded();
    return socket;
  }

  constructor(tcp) {
    this.tcp = tcp;
    this.onMessage = () => {}; // (opcode, payload, wasCompressed)
    this.onControl = () => {};
    this.closeFrame = null; // {code, reason}: what the server's close frame said
    this.answerPings = true;
    this.buffer = Buffer.alloc(0);
    this.parts = [];
    /** Resolves with the close frame (or null) when the TCP connection is gone. */
    this.closed = new Promise((resolve) => tcp.once('close', () => resolve(this.closeFrame)));
    tcp.on('error', () => {}); // a reset is one way to be closed
  }

  #upgraded() {
    return new Promise((resolve, reject) => {
      const onData = (chunk) => {
        this.buffer = Buffer.concat([this.buffer, chunk]);
        const end = this.buffer.indexOf('\r\n\r\n');
        if (end < 0) return;
        const head = this.buffer.subarray(0, end).toString('latin1');
        this.buffer = this.buffer.subarray(end + 4);
        this.tcp.off('data', onData);
        if (!/^HTTP\/1\.1 101 /.test(head)) {
          reject(new Error(`no upgrade: ${head.split('\r\n')[0]}`));
          return;
        }
        this.compressed = /permessage-deflate/i.test(head);
        this.tcp.on('data', (more) => {
          this.buffer = this.buffer.length ? Buffer.concat([this.buffer, more]) : more;
          this.#frames();
        });
        resolve();
        setImmediate(() => this.#frames());
      };
      this.tcp.on('data', onData);
      this.tcp.once('close', () => reject(new Error('closed before the upgrade')));
    });
  }

  #frames() {
    for (;;) {
      const { buffer } = this;
      if (buffer.length < 2) return;
      let length = buffer[1] & 127;
      let at = 2;
      if (length === 126) {
        if (buffer.length < 4) return;
        length = buffer.readUInt16BE(2);
        at = 4;
      } else if (length === 127) {
        if (buffer.length < 10) return;
        length = Number(buffer.readBigUInt64BE(2));
        at = 10;
      }
      if (buffer.length < at + length) return;
      const payload = buffer.subarray(at, at + length);
      this.buffer = buffer.subarray(at + length);
      this.#frame(buffer[0], payload);
    }
  }

  #frame(first, payload) {
    const opcode = first & 15;
    if (opcode === OP.close) {
      const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      this.closeFrame = { code, reason: payload.subarray(2).toString() };
      this.write(frame(OP.close, payload.subarray(0, 2)));
      this.tcp.end();
    } else if (opcode === OP.ping) {
      if (this.answerPings) this.write(frame(OP.pong, payload));
      this.onControl('ping', payload);
    } else if (opcode === OP.pong) {
      this.onControl('pong', payload);
    } else {
      if (opcode !== OP.continuation) this.started = { opcode, compressed: (first & 0x40) !== 0 };
      this.parts.push(Buffer.from(payload));
      if (!(first & 0x80)) return;
      const whole = Buffer.concat(this.parts);
      this.parts = [];
      const { opcode: kind, compressed } = this.started;
      this.onMessage(kind, compressed ? inflate(whole) : whole, compressed);
    }
  }

  /** False when the socket no longer takes anything. */
  write(bytes) {
    return !this.tcp.destroyed && this.tcp.writable && this.tcp.write(bytes);
  }

  text(payload) {
    this.write(frame(OP.text, Buffer.from(payload)));
  }

  binary(payload) {
    this.write(frame(OP.binary, payload));
  }

  /** Gone without a word, as when a cable is pulled and the system resets the connection. */
  destroy() {
    reset(this.tcp);
  }
}
