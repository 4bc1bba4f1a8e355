// Revocation: a token that is taken back ends its connections at once and opens nothing any more.

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { Server } from '../../lib/server.mjs';
import { ACTION, Wire } from '../../lib/wire.mjs';
import { assertError, jwt, provision, request, requestToken, tokenFor } from '../../lib/http.mjs';
import { both, connected, next, rest, test } from '../sdk.mjs';

let server;
let app;
before(async () => {
  server = await Server.start();
  app = await provision(server, { keys: [{ revocableTokens: true }, {}] });
});
after(() => server.stop());

const revoke = (body, options = {}) =>
  request(app, 'POST', `/keys/${options.keyName ?? app.keys[0].keyName}/revokeTokens`, { body, ...options });

both('by clientId: those connections end with 40141, others stay', async (t, binary) => {
  const clients = [];
  for (const clientId of ['ann', 'bob', 'eve']) {
    const { token } = await tokenFor(app, { clientId });
    clients.push(await connected(t, app, { token, useBinaryProtocol: binary }));
  }
  const [ann, bob, eve] = clients;
  const ends = [ann, bob].map((client) => next(client.connection, 'disconnected', 5000));
  const started = Date.now();
  const answer = await revoke({ targets: ['clientId:ann', 'clientId:bob', 'invalidType:abc'] }, { binary });
  assert.ok([200, 201].includes(answer.status), `status ${answer.status}`);
  assert.equal(answer.body.successCount, 2);
  assert.equal(answer.body.failureCount, 1);
  assert.deepEqual(answer.body.results.map((r) => r.target), ['clientId:ann', 'clientId:bob', 'invalidType:abc']);
  for (const result of answer.body.results.slice(0, 2)) {
    assert.equal(typeof result.issuedBefore, 'number');
    assert.equal(typeof result.appliesAt, 'number');
    assert.equal('error' in result, false);
  }
  assert.equal(answer.body.results[2].error.statusCode, 400);
  for (const end of ends) assert.equal((await end).reason.code, 40141);
  assert.ok(Date.now() - started < 2000, 'at once');
  await eve.channels.get('still-here').publish('x', null);
  assert.equal(eve.connection.state, 'connected');
});

test('REST and new connections are refused; tokens issued later are not', async (t) => {
  const { token } = await tokenFor(app, { clientId: 'carl' });
  assert.equal((await request(app, 'GET', '/channels/x/messages', { token })).status, 200);
  await revoke({ targets: ['clientId:carl'] });
  assertError(await request(app, 'GET', '/channels/x/messages', { token }), 401, 40141);
  const wire = await Wire.open(app, { access_token: token });
  assert.equal((await wire.next(() => true, 'the refusal')).error?.code, 40141);
  wire.destroy();
  const [clock] = (await request(app, 'GET', '/time')).body;
  let later;
  do later = await tokenFor(app, { clientId: 'carl' });
  while (later.issued <= clock);
  assert.equal((await request(app, 'GET', '/channels/x/messages', { token: later.token })).status, 200);
});

test('by revocation key, which a JWT names', async () => {
  const token = (key) => jwt(app.key, { claims: { 'x-ably-revocation-key': key } });
  const [red, blue] = [token('red'), token('blue')];
  const wires = await Promise.all([red, blue].map((access_token) => Wire.connect(app, { access_token })));
  const answer = await revoke({ targets: ['revocationKey:red'] });
  assert.equal(answer.body.successCount, 1);
  const told = await wires[0].next((m) => m.action === ACTION.DISCONNECTED, 'DISCONNECTED', 3000);
  assert.equal(told.error.code, 40141);
  await wires[1].roundTrip();
  wires[1].destroy();
  assertError(await request(app, 'GET', '/channels/x/messages', { token: red }), 401, 40141);
  assert.equal((await request(app, 'GET', '/channels/x/messages', { token: blue })).status, 200);
});

describe('issuedBefore and the margin', () => {
  test('spare tokens that were issued later', async () => {
    const { token } = await tokenFor(app, { clientId: 'dora' });
    const [clock] = (await request(app, 'GET', '/time')).body;
    const issuedBefore = clock - 20 * 60_000;
    const answer = await revoke({ targets: ['clientId:dora'], issuedBefore });
    assert.equal(answer.body.results[0].issuedBefore, issuedBefore);
    assert.equal((await request(app, 'GET', '/channels/x/messages', { token })).status, 200);
  });

  test('allowReauthMargin gives 30 s and asks for a new token', async (t) => {
    const { token } = await tokenFor(app, { clientId: 'fred' });
    const wire = await Wire.connect(app, { access_token: token });
    t.after(() => wire.destroy());
    const [clock] = (await request(app, 'GET', '/time')).body;
    const answer = await revoke({ targets: ['clientId:fred'], allowReauthMargin: true });
    const { appliesAt } = answer.body.results[0];
    assert.ok(appliesAt >= clock + 30_000 && appliesAt < clock + 40_000, `${appliesAt - clock} ms`);
    await wire.expect(ACTION.AUTH, undefined, 3000);
    await wire.roundTrip();
  });

  for (const [what, issuedBefore] of Object.entries({ 'in the future': () => Date.now() + 600_000, 'too long ago': () => Date.now() - 2 * 3_600_000, 'no number': () => 'x' })) {
    test(`${what} is refused`, async () => {
      const answer = await revoke({ targets: ['clientId:x'], issuedBefore: issuedBefore() });
      assert.equal(answer.status, 400);
    });
  }
});

describe('who may revoke', () => {
  test('not a token: 40162', async () => {
    const { token } = await tokenFor(app);
    assertError(await revoke({ targets: ['clientId:x'] }, { token }), 401, 40162);
  });
  test('not a key whose tokens are not revocable', async () => {
    const answer = await revoke({ targets: ['clientId:x'] }, { keyName: app.keys[1].keyName, key: app.keys[1].keyStr });
    assert.ok(answer.status >= 400 && answer.status < 500);
    assert.ok([40163, 40121].includes(answer.body.error.code), JSON.stringify(answer.body));
  });
  test('not another key: 40133', async () => {
    const answer = await revoke({ targets: ['clientId:x'] }, { key: app.keys[1].keyStr });
    assert.equal(answer.body.error?.code, 40133, JSON.stringify(answer.body));
  });
  test('not another app', async () => {
    const other = await provision(server);
    const answer = await revoke({ targets: ['clientId:x'] }, { key: other.key });
    assert.ok([401, 403, 404].includes(answer.status));
  });
});

test('bad requests are refused whole', async () => {
  const many = Array.from({ length: 101 }, (_, i) => `clientId:c${i}`);
  for (const body of [{}, { targets: [] }, { targets: 'clientId:x' }, { targets: many }, [], 'x']) {
    assert.equal((await revoke(body)).status, 400, JSON.stringify(body).slice(0, 60));
  }
});

test('tokens of such a key live for an hour at most', async () => {
  assertError(await requestToken(app, { ttl: 2 * 3_600_000 }), 400);
  assert.equal((await requestToken(app, { ttl: 3_600_000 })).status < 300, true);
});

test('the SDK\'s own revokeTokens works', async () => {
  const result = await rest(app).auth.revokeTokens([{ type: 'clientId', value: 'nobody' }]);
  assert.equal(result.successCount, 1);
  assert.equal(result.results[0].target, 'clientId:nobody');
});
