// A TCP proxy between a client and the server: a test cuts, refuses or holds the network instead of reaching into an SDK.

import net from 'node:net';
import { reset } from './socket.mjs';

export class Proxy {
  static async to(server) {
    const proxy = new Proxy(server.port, server.host);
    await new Promise((resolve, reject) => {
      proxy.listener.once('error', reject).listen(0, '127.0.0.1', resolve);
    });
    proxy.port = proxy.listener.address().port;
    return proxy;
  }

  constructor(port, host) {
    this.pairs = new Set();
    this.refusing = false;
    this.holding = false;
    this.listener = net.createServer({ noDelay: true }, (client) => {
      client.on('error', () => {});
      if (this.refusing) {
        reset(client);
        return;
      }
      const upstream = net.connect({ port, host, noDelay: true });
      const pair = { client, upstream };
      this.pairs.add(pair);
      const end = () => {
        this.pairs.delete(pair);
        client.destroy();
        upstream.destroy();
      };
      for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
      client.pipe(upstream);
      upstream.on('data', (chunk) => {
        if (!this.holding) client.write(chunk); // held bytes are lost, as on a dead link
      });
    });
  }

  /** Resets every connection that goes through. */
  cut() {
    for (const { client, upstream } of this.pairs) {
      reset(client);
      reset(upstream);
    }
  }

  /** Cuts, and lets nobody in until `allow()`. */
  refuse() {
    this.refusing = true;
    this.cut();
  }

  allow() {
    this.refusing = false;
  }

  /** From now on nothing of what the server says reaches the client; what the client says still arrives. */
  holdAnswers() {
    this.holding = true;
  }

  letAnswersThrough() {
    this.holding = false;
  }

  close() {
    this.cut();
    return new Promise((resolve) => this.listener.close(resolve));
  }
}
