// kill -9 at random moments while publishing to durable channels; afterwards nothing that was acknowledged may be missing,
// doubled or out of order, and no subscriber may have been told an untruth.
//
//   CYCLES=10 node run.mjs            how often the server is killed (default 10)
//   FANFARE_EXTRA_ARGS="…"            arguments for every server, e.g. to weaken its durability and see this test go red
//   EXPECT_RED=1                      turns the verdict round: lost messages are what is wanted
//   KEEP=1                            keeps the ledger, the histories and the live logs for a look

import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { links, request } from '../lib/http.mjs';
import { Server, freePort, temporaryDirectory } from '../lib/server.mjs';
import { Place, restPublisher, subscriber, wirePublisher } from './actors.mjs';
import { FAULTS, check } from './check.mjs';
import { Ledger, digest } from './ledger.mjs';

const cycles = Number(process.env.CYCLES ?? 10);
const channels = ['persisted:crash-a', 'persisted:crash-b', 'persisted:crash-c'];
const side = fs.mkdtempSync(path.join(os.tmpdir(), 'fanfare-crash-')); // the witness's own place

const where = { port: await freePort(), dir: temporaryDirectory(), readyMs: 30_000 };
const ledger = new Ledger(side);
const live = [];
const place = new Place();
const startTimes = [];

async function start() {
  const from = Date.now();
  const server = await Server.start(where);
  startTimes.push(Date.now() - from);
  return server;
}

async function killAndRestart(server, cycle) {
  await new Promise((resolve) => setTimeout(resolve, 20 + crypto.randomInt(500)));
  place.down();
  await server.kill();
  const next = await start();
  place.up(next);
  if (cycle % 10 === 0) console.log(`${cycle}/${cycles} kills, ${ledger.counts.acked} acknowledged`);
  return next;
}

/** A last message on each channel, and everyone has heard it. */
async function settle(server, listeners, ends) {
  for (const channel of channels) {
    const id = `end-${channel}`;
    const data = 'the end';
    ends.add(id); // before it is sent: it can be heard before it is acknowledged
    ledger.sent({ id, channel, publisher: 'end', seq: 0, sum: digest(data) });
    const answer = await request(server, 'POST', `/channels/${encodeURIComponent(channel)}/messages`, { body: { id, name: 'end', data } });
    if (answer.status !== 201) throw new Error(`the last publish was answered ${answer.status}`);
    ledger.acked([id]);
  }
  const late = new Promise((_, reject) => setTimeout(reject, 30_000, new Error('a subscriber never heard the end')).unref());
  await Promise.race([Promise.all(listeners), late]);
}

async function history(server, channel) {
  const messages = [];
  let target = `/channels/${encodeURIComponent(channel)}/messages?limit=1000&direction=forwards`;
  while (target) {
    const answer = await request(server, 'GET', target, { timeoutMs: 60_000 });
    if (answer.status !== 200) throw new Error(`history of ${channel}: ${answer.status} ${JSON.stringify(answer.body)}`);
    messages.push(...answer.body.map(({ id, name, data, serial }) => ({ id, name, data, serial })));
    const { next } = links(answer.headers);
    target = next && `/channels/${encodeURIComponent(channel)}/${next.slice(2)}`;
  }
  return messages;
}

let server = await start();
place.up(server);
const ends = new Set();
const heard = new Map();
const heardAll = (name, log) => {
  const { id } = log.at(-1);
  if (!ends.has(id)) return false;
  heard.set(name, (heard.get(name) ?? new Set()).add(id));
  return heard.get(name).size === channels.length;
};
const listeners = ['one', 'two'].map((name) => subscriber(place, live, { name, channels, until: heardAll }));
const publishers = channels.flatMap((channel, i) => [
  restPublisher(place, ledger, { publisher: `rest${i}`, channel }),
  wirePublisher(place, ledger, { publisher: `wire${i}`, channel }),
  wirePublisher(place, ledger, { publisher: `wide${i}`, channel, window: 64 }),
]);
for (let cycle = 1; cycle <= cycles; cycle++) server = await killAndRestart(server, cycle);
place.stopped = true;
await Promise.all(publishers);
let notHeard;
await settle(server, listeners, ends).catch((error) => (notHeard = error.message));
const histories = new Map();
for (const channel of channels) histories.set(channel, await history(server, channel));
const end = await server.stop();
ledger.close();

const report = check(Ledger.read(ledger.file), histories, live);
const sorted = [...startTimes].sort((a, b) => a - b);
const bound = report.acked > 0 ? (3 / report.acked).toExponential(1) : '-';
console.log(`${cycles} kills; sent ${report.sent}, acknowledged ${report.acked}, refused ${report.refused}, unanswered ${report.unknown} (${report.unknownKept} of them kept), delivered live ${report.delivered}`);
console.log(`ready again: median ${sorted[sorted.length >> 1]} ms, p99 ${sorted[Math.floor(sorted.length * 0.99)]} ms`);
for (const [fault, count] of Object.entries(report.faults)) {
  if (count > 0) console.log(`FAULT ${fault}: ${count} ${FAULTS[fault]}; e.g. ${report.examples[fault].join(' | ')}`);
}
const complaints = [
  notHeard,
  report.acked < cycles && 'too little was acknowledged for this run to mean anything',
  end.code !== 0 && `the last server ended with ${end.code ?? end.signal}`,
].filter(Boolean);
for (const complaint of complaints) console.log(`FAULT ${complaint}`);
const ok = report.ok && complaints.length === 0;
if (ok) console.log(`no fault found (with ${report.acked} acknowledged that bounds the rate of loss by ${bound} at 95 %)`);

if (process.env.KEEP || (!ok && !process.env.EXPECT_RED)) {
  fs.writeFileSync(path.join(side, 'live.json'), JSON.stringify(live));
  fs.writeFileSync(path.join(side, 'histories.json'), JSON.stringify([...histories]));
  console.log(`the record is in ${side}`);
} else fs.rmSync(side, { recursive: true });

// Lost messages are what a server without syncs must be convicted of; another fault would prove nothing about that.
const wanted = process.env.EXPECT_RED ? report.faults.lost > 0 : ok;
if (process.env.EXPECT_RED) console.log(wanted ? 'red, as expected' : 'EXPECTED LOST MESSAGES, found none');
process.exit(wanted ? 0 : 1);
