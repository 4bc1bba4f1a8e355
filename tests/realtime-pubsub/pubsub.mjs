// What these tests share: tokens, the official client, a raw peer that sees every frame, and the HTTP API.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http from 'node:http';
import { test as nodeTest } from 'node:test';
import pubsub from 'realtime-pubsub-client';
import { OP, Socket } from '../lib/socket.mjs';

const { RealtimeClient } = pubsub;

export const test = (name, body) => nodeTest(name, { timeout: 45_000 }, body);

export const PUBLISH_ALL = 'realtime:publisher:write:topic:*';
export const SUBSCRIBE_ALL = 'realtime:subscriber:read:topic:*';
export const EVERYTHING = [PUBLISH_ALL, SUBSCRIBE_ALL];

let names = 0;
/** A name that no other test uses. */
export const unique = (prefix = 'n') => `${prefix}${process.pid}x${++names}`;

const base64url = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

const SIGNERS = {
  HS256: (key, data) => crypto.createHmac('sha256', key).update(data).digest(),
  HS384: (key, data) => crypto.createHmac('sha384', key).update(data).digest(),
  HS512: (key, data) => crypto.createHmac('sha512', key).update(data).digest(),
  RS256: (key, data) => crypto.sign('sha256', data, key),
  RS384: (key, data) => crypto.sign('sha384', data, key),
  RS512: (key, data) => crypto.sign('sha512', data, key),
  PS256: (key, data) => crypto.sign('sha256', data, { key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }),
  PS384: (key, data) => crypto.sign('sha384', data, { key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 }),
  PS512: (key, data) => crypto.sign('sha512', data, { key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 64 }),
  ES256: (key, data) => crypto.sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' }),
  ES384: (key, data) => crypto.sign('sha384', data, { key, dsaEncoding: 'ieee-p1363' }),
  EdDSA: (key, data) => crypto.sign(null, data, key),
  none: () => Buffer.alloc(0),
};

/** A JWT; every part can be replaced to make a bad one. */
export function jwt(key, claims = {}, { algorithm = 'HS256', header = {}, ttl = 60 } = {}) {
  const exp = Math.floor(Date.now() / 1000) + ttl;
  const signed = `${base64url({ alg: algorithm, typ: 'JWT', ...header })}.${base64url({ exp, ...claims })}`;
  return `${signed}.${SIGNERS[algorithm](key, Buffer.from(signed)).toString('base64url')}`;
}

/** A client's token of the development app. */
export const clientToken = (server, permissions = EVERYTHING, more = {}) => jwt(server.clientKey, { permissions, ...more });
export const adminToken = (server, permissions) => jwt(server.adminKey, { permissions });

export const address = (server, token, app = server.appId) =>
  `ws://${server.host}:${server.port}/apps/${app}?access_token=${encodeURIComponent(token)}`;

export function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The official client, connected and subscribed; it ends with its test. `client.info` is what its welcome said. */
export async function connect(t, server, { permissions, subject, topics = [], token, maxRetries = 0 } = {}) {
  const client = new RealtimeClient({
    websocketOptions: {
      maxRetries,
      urlProvider: async () =>
        address(server, token ?? clientToken(server, permissions, subject === undefined ? {} : { sub: subject })),
    },
  });
  t.after(() => client.disconnect());
  client.on('error', () => {});
  const started = new Promise((resolve) => client.once('session.started', resolve));
  client.on('session.started', () => topics.forEach((topic) => client.subscribeRemoteTopic(topic)));
  await client.connect();
  client.info = await within(5000, started, 'the welcome');
  return client;
}

/** The next event, as its arguments. */
export const next = (client, event, ms = 5000) =>
  within(ms, new Promise((resolve) => client.once(event, (...args) => resolve(args))), `event ${event}`);

/** A peer on a raw socket: sends anything, keeps every frame. */
export class Peer {
  static async open(server, { token = clientToken(server), app = server.appId, compress = false, ...more } = {}) {
    const path = `/apps/${app}?access_token=${encodeURIComponent(token)}`;
    const socket = await Socket.open({ port: server.port, host: server.host, path, compress, ...more });
    const peer = new Peer(socket);
    peer.welcome = (await peer.next((f) => f.topic === 'main' && f.messageType === 'welcome', 'the welcome')).data.connection;
    peer.id = peer.welcome.id;
    return peer;
  }

  constructor(socket) {
    this.socket = socket;
    this.closed = socket.closed;
    this.seen = []; // every frame, in order, with how it came
    this.inbox = [];
    this.waiting = [];
    socket.onMessage = (opcode, payload, compressed) => {
      const frame = JSON.parse(payload.toString());
      Object.defineProperties(frame, { binary: { value: opcode === OP.binary }, compressed: { value: compressed } });
      this.seen.push(frame);
      const index = this.waiting.findIndex((waiter) => waiter.wants(frame));
      if (index < 0) this.inbox.push(frame);
      else this.waiting.splice(index, 1)[0].resolve(frame);
    };
  }

  say(frame) {
    this.socket.text(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  subscribe(topic) {
    this.say({ type: 'subscribe', data: { topic } });
  }

  unsubscribe(topic) {
    this.say({ type: 'unsubscribe', data: { topic } });
  }

  publish(topic, payload, more = {}) {
    this.say({ type: 'publish', data: { topic, payload, ...more } });
  }

  next(wants, what = 'a frame', ms = 5000) {
    const index = this.inbox.findIndex(wants);
    if (index >= 0) return Promise.resolve(this.inbox.splice(index, 1)[0]);
    const come = new Promise((resolve) => this.waiting.push({ wants, resolve }));
    const gone = this.closed.then((close) => {
      throw new Error(`closed with ${JSON.stringify(close)} while waiting for ${what}`);
    });
    return within(ms, Promise.race([come, gone]), `${what}; seen ${JSON.stringify(this.seen.slice(-4))}`);
  }

  on(topic, messageType, ms) {
    return this.next((f) => f.topic === topic && (messageType === undefined || f.messageType === messageType), `${topic} ${messageType ?? ''}`, ms);
  }

  /** Publishes with an id and waits until it is acknowledged: everything said before has been handled. */
  async settled() {
    const id = unique('settled');
    this.say({ type: 'message', data: { messageType: 'settle', payload: null, id } });
    return this.next((f) => f.topic === 'priv/acks' && f.data.data === id, 'the acknowledgement');
  }

  close() {
    this.socket.destroy();
  }
}

/** A handshake that may be refused: the status, and the JSON that explains it. */
export function handshake(server, path, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({
      host: server.host,
      port: server.port,
      path,
      headers: {
        connection: 'upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': crypto.randomBytes(16).toString('base64'),
        ...headers,
      },
    });
    request.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve({ status: 101 });
    });
    request.on('response', (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode, headers: response.headers, body: text ? JSON.parse(text) : undefined });
      });
    });
    request.on('error', reject);
    request.end();
  });
}

/** One call of the HTTP API. */
export async function call(server, method, path, { token, body, raw, headers = {} } = {}) {
  const response = await fetch(server.url + path, {
    method,
    headers: {
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(body === undefined && raw === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
    signal: AbortSignal.timeout(15_000),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : undefined };
}

/** The error says something, and in the one shape. */
export function assertRefused(answer, status, words) {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.equal(typeof answer.body?.error?.code, 'string', JSON.stringify(answer.body));
  assert.match(answer.body.error.message, words ?? /./);
}
