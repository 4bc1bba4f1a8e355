// The realtime protocol without an SDK: protocol messages over the hand-made socket, in JSON or MessagePack.

import assert from 'node:assert/strict';
import { decode, encode } from './msgpack.mjs';
import { OP, Socket } from './socket.mjs';

export const ACTION = {
  HEARTBEAT: 0, ACK: 1, NACK: 2, CONNECTED: 4, DISCONNECT: 5, DISCONNECTED: 6, CLOSE: 7, CLOSED: 8, ERROR: 9,
  ATTACH: 10, ATTACHED: 11, DETACH: 12, DETACHED: 13, PRESENCE: 14, MESSAGE: 15, SYNC: 16, AUTH: 17,
};

export const FLAG = {
  HAS_PRESENCE: 1 << 0, HAS_BACKLOG: 1 << 1, RESUMED: 1 << 2, ATTACH_RESUME: 1 << 5,
  PRESENCE: 1 << 16, PUBLISH: 1 << 17, SUBSCRIBE: 1 << 18, PRESENCE_SUBSCRIBE: 1 << 19,
};

export const PRESENCE = { absent: 0, present: 1, enter: 2, leave: 3, update: 4 };

const nameOf = (action) => Object.keys(ACTION).find((name) => ACTION[name] === action) ?? action;

export class Wire {
  /** Opens a socket; the first frame (CONNECTED or ERROR) is waiting to be read. */
  static async open(server, params = {}, { binary = false, headers = {}, compress = false } = {}) {
    const anonymous = ['key', 'access_token', 'accessToken'].every((name) => !(name in params)) && !headers.Authorization;
    const query = new URLSearchParams({
      v: '6',
      ...(binary ? { format: 'msgpack' } : {}),
      ...(anonymous ? { key: server.key } : {}),
      ...params,
    });
    for (const [name, value] of [...query]) if (value === 'undefined') query.delete(name);
    const socket = await Socket.open({ port: server.port, host: server.host, path: `/?${query}`, headers, compress });
    return new Wire(socket, binary);
  }

  /** Opens and expects CONNECTED, which is kept in `.connected`. */
  static async connect(server, params, options) {
    const wire = await Wire.open(server, params, options);
    wire.connected = await wire.expect(ACTION.CONNECTED);
    wire.id = wire.connected.connectionId;
    wire.key = wire.connected.connectionDetails.connectionKey;
    return wire;
  }

  constructor(socket, binary) {
    this.socket = socket;
    this.isBinary = binary;
    this.inbox = []; // messages nobody has asked for yet
    this.seen = []; // every message, in order
    this.raw = []; // every frame's payload as it came
    this.wasCompressed = []; // and whether it came compressed
    this.waiting = [];
    this.outcomes = new Map(); // msgSerial → the ACK or NACK that covers it
    this.outcomeWaiters = new Map(); // msgSerial → who waits for that
    this.msgSerial = 0;
    this.closed = socket.closed;
    socket.onMessage = (opcode, payload, compressed) => this.#arrived(opcode, payload, compressed);
    socket.closed.then(() => {
      for (const waiter of this.waiting.splice(0)) waiter.reject(new Error(`closed while waiting for ${waiter.what}`));
      for (const [serial, waiter] of this.outcomeWaiters) waiter.reject(new Error(`closed while waiting for ACK or NACK of ${serial}`));
      this.outcomeWaiters.clear();
    });
  }

  #arrived(opcode, payload, compressed) {
    assert.equal(opcode, this.isBinary ? OP.binary : OP.text, 'the frame type must fit the format');
    const message = this.isBinary ? decode(payload) : JSON.parse(payload.toString());
    this.raw.push(payload);
    this.wasCompressed.push(compressed);
    this.seen.push(message);
    if ([ACTION.ACK, ACTION.NACK].includes(message.action) && this.#answered(message)) return;
    const index = this.waiting.findIndex((waiter) => waiter.wants(message));
    if (index < 0) this.inbox.push(message);
    else this.waiting.splice(index, 1)[0].resolve(message);
  }

  /** One answer may stand for several frames. True when somebody waited for one of them. */
  #answered(message) {
    let taken = false;
    for (let i = 0; i < message.count; i++) {
      const serial = message.msgSerial + i;
      this.outcomes.set(serial, message);
      const waiter = this.outcomeWaiters.get(serial);
      this.outcomeWaiters.delete(serial);
      waiter?.resolve(message);
      taken ||= waiter !== undefined;
    }
    return taken;
  }

  send(message) {
    if (this.isBinary) this.socket.binary(encode(message));
    else this.socket.text(JSON.stringify(message));
  }

  /** The first message, past or coming, that fits; those that do not stay where they are. */
  next(wants, what = 'a message', withinMs = 8000) {
    const index = this.inbox.findIndex(wants);
    if (index >= 0) return Promise.resolve(this.inbox.splice(index, 1)[0]);
    return new Promise((resolve, reject) => {
      const waiter = { wants, what, reject: fail, resolve: done };
      const timer = setTimeout(() => {
        this.waiting.splice(this.waiting.indexOf(waiter), 1);
        const got = this.seen.slice(-6).map((message) => JSON.stringify(message).slice(0, 300));
        fail(new Error(`no ${what} within ${withinMs} ms; last seen: ${got.join(' ')}`));
      }, withinMs);
      function fail(error) {
        clearTimeout(timer);
        reject(error);
      }
      function done(message) {
        clearTimeout(timer);
        resolve(message);
      }
      this.waiting.push(waiter);
    });
  }

  /** The next message with this action (and channel). An ERROR that was not asked for is a failure at once. */
  async expect(action, channel, withinMs) {
    const fits = (message) => message.action === action && (channel === undefined || message.channel === channel);
    const bad = (message) =>
      message.action === ACTION.ERROR && (message.channel === undefined || message.channel === channel);
    const what = `${nameOf(action)}${channel === undefined ? '' : ` of ${channel}`}`;
    const message = await this.next((m) => fits(m) || bad(m), what, withinMs);
    if (!fits(message)) assert.fail(`${what} expected, got ${JSON.stringify(message)}`);
    return message;
  }

  async attach(channel, more = {}) {
    this.send({ action: ACTION.ATTACH, channel, ...more });
    return this.expect(ACTION.ATTACHED, channel);
  }

  /** Publishes and gives the ACK or NACK of this very frame. */
  async publish(channel, messages, more = {}) {
    const msgSerial = this.msgSerial++;
    this.send({ action: ACTION.MESSAGE, channel, msgSerial, messages: [messages].flat(), ...more });
    return this.outcome(msgSerial);
  }

  async presence(channel, presence) {
    const msgSerial = this.msgSerial++;
    this.send({ action: ACTION.PRESENCE, channel, msgSerial, presence: [presence].flat() });
    return this.outcome(msgSerial);
  }

  /** The ACK or NACK that covers a frame of ours. */
  outcome(msgSerial, withinMs = 8000) {
    const known = this.outcomes.get(msgSerial);
    if (known) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.outcomeWaiters.delete(msgSerial);
        reject(new Error(`no ACK or NACK of ${msgSerial} within ${withinMs} ms`));
      }, withinMs);
      const settle = (how) => (value) => {
        clearTimeout(timer);
        how(value);
      };
      this.outcomeWaiters.set(msgSerial, { resolve: settle(resolve), reject: settle(reject) });
    });
  }

  /** The next delivered message of a channel (one of a frame's array at a time is the caller's business). */
  message(channel, withinMs) {
    return this.expect(ACTION.MESSAGE, channel, withinMs);
  }

  /** A round trip: whatever the server had sent before has arrived when this resolves. */
  async roundTrip() {
    const id = `fence-${Math.random()}`;
    this.send({ action: ACTION.HEARTBEAT, id });
    await this.next((message) => message.action === ACTION.HEARTBEAT && message.id === id, 'HEARTBEAT answer');
  }

  close() {
    this.send({ action: ACTION.CLOSE });
    this.socket.tcp.end();
  }

  destroy() {
    this.socket.destroy();
  }
}
