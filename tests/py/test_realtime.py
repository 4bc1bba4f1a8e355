"""Realtime with the SDK: connecting, order, payloads, presence, resume."""

import asyncio

import pytest
from ably import AblyException
from ably.realtime.connection import ConnectionState
from ably.types.channeloptions import ChannelOptions
from ably.types.message import Message
from ably.types.presence import PresenceAction
from ably.util.crypto import CipherParams

from conftest import TIMEOUT, Gatherer, reached

PAYLOADS = {
    "text": "a\u00e9\u6f22\U0001f605\u0000",
    "empty text": "",
    "bytes": bytes(range(256)),
    "object": {"a": 1, "b": [True, None, {"deep": 1.5}]},
    "array": [1, "two", []],
    "nothing": None,
}


def same(got, sent):
    return bytes(got) == sent if isinstance(sent, bytes) else got == sent


async def test_connects_and_pings(realtime, binary):
    client = await realtime(use_binary_protocol=binary)
    assert client.connection.error_reason is None
    assert await client.connection.ping() >= 0
    details = client.connection.connection_details
    assert details.connection_state_ttl == 120000
    assert details.max_idle_interval == 15000
    assert details.connection_key


@pytest.mark.parametrize("credential", [{"key": "api:key"}, {"key": "this.is:wrong"}, {"token": "invalid-token"}])
async def test_wrong_credentials_fail_for_good(realtime, credential):
    client = await realtime(connect=False, **credential)
    change = await asyncio.wait_for(client.connection.once_async(ConnectionState.FAILED), TIMEOUT)
    assert (change.reason.code, change.reason.status_code) == (40101, 401)


async def test_order_for_every_subscriber(realtime, name, binary):
    publisher = await realtime(use_binary_protocol=binary)
    gatherers = []
    for other in (True, False):
        client = await realtime(use_binary_protocol=other)
        gatherers.append(Gatherer())
        await client.channels.get(name).subscribe(gatherers[-1].add)
    channel = publisher.channels.get(name)
    await asyncio.gather(*(channel.publish("n", str(i)) for i in range(300)))
    for gatherer in gatherers:
        await gatherer.until(300)
        assert [m.data for m in gatherer.items] == [str(i) for i in range(300)]


async def test_results_carry_serials(realtime, name, binary):
    client = await realtime(use_binary_protocol=binary)
    results = [await client.channels.get(name).publish("n", str(i)) for i in range(3)]
    serials = [result.serials[0] for result in results]
    assert all(isinstance(serial, str) for serial in serials)
    assert sorted(serials) == serials and len(set(serials)) == 3


@pytest.mark.parametrize("cipher", [False, True], ids=["plain", "encrypted"])
async def test_payloads(realtime, name, binary, cipher):
    options = ChannelOptions(cipher=CipherParams(secret_key=b"0123456789abcdef0123456789abcdef")) if cipher else None
    sender = await realtime(use_binary_protocol=binary)
    for receiver_binary in (False, True):
        receiver = await realtime(use_binary_protocol=receiver_binary)
        gatherer = Gatherer()
        channel = f"{name}-{receiver_binary}"
        await receiver.channels.get(channel, options).subscribe(gatherer.add)
        sent = {k: v for k, v in PAYLOADS.items() if not (cipher and v is None)}
        for key, value in sent.items():
            await sender.channels.get(channel, options).publish(key, value)
        for message, (key, value) in zip(await gatherer.until(len(sent)), sent.items()):
            assert message.name == key
            assert same(message.data, value), key


async def test_extras_and_client_id(realtime, name, binary):
    extras = {"headers": {"number": 26095, "fraction": 1.5, "yes": True, "text": "\U0001f605"}}
    client = await realtime(client_id="ann", use_binary_protocol=binary)
    gatherer = Gatherer()
    channel = client.channels.get(name)
    await channel.subscribe(gatherer.add)
    await channel.publish(Message(name="e", data="x", extras=extras))
    [message] = await gatherer.until(1)
    assert message.extras == extras
    assert message.client_id == "ann"
    assert message.connection_id == client.connection.connection_manager.connection_id
    assert message.id and message.timestamp


async def test_same_id_is_one_message(realtime, name, binary):
    client = await realtime(use_binary_protocol=binary)
    gatherer = Gatherer()
    channel = client.channels.get(name)
    await channel.subscribe(gatherer.add)
    for data in ("first", "second", "third"):
        await channel.publish(Message(name="n", data=data, id="same"))
    await channel.publish("end", None)
    assert [m.data for m in await gatherer.until(2)] == ["first", None]


async def test_rewind(realtime, name, binary):
    client = await realtime(use_binary_protocol=binary)
    for i in range(5):
        await client.channels.get(name).publish("n", str(i))
    late = await realtime(use_binary_protocol=binary)
    gatherer = Gatherer()
    channel = late.channels.get(name, ChannelOptions(params={"rewind": "2", "nonexistent": "x"}))
    await channel.subscribe(gatherer.add)
    assert [m.data for m in await gatherer.until(2)] == ["3", "4"]
    assert channel.params == {"rewind": "2"}


async def test_denied_channel(realtime, rest, server):
    token = await rest().auth.request_token(token_params={"capability": {"here": ["subscribe"]}})
    client = await realtime(token_details=token)
    with pytest.raises(AblyException) as refusal:
        await client.channels.get("there").attach()
    assert refusal.value.code == 40160
    await client.channels.get("here").attach()


async def test_presence(realtime, name, binary):
    member = await realtime(client_id="ann", use_binary_protocol=binary)
    watcher = await realtime(use_binary_protocol=not binary)
    events = Gatherer()
    await watcher.channels.get(name).presence.subscribe(events.add)
    presence = member.channels.get(name).presence
    await presence.enter({"deep": [1]})
    await presence.update("new")
    late = await realtime(use_binary_protocol=binary)
    [seen] = await asyncio.wait_for(late.channels.get(name).presence.get(), TIMEOUT)
    assert (seen.client_id, seen.data, seen.action) == ("ann", "new", PresenceAction.PRESENT)
    await presence.leave("bye")
    await events.until(3)
    expected = [(PresenceAction.ENTER, {"deep": [1]}), (PresenceAction.UPDATE, "new"), (PresenceAction.LEAVE, "bye")]
    assert [(e.action, e.data) for e in events.items] == expected
    assert await asyncio.wait_for(watcher.channels.get(name).presence.get(), TIMEOUT) == []


async def test_presence_for_others(realtime, name, binary):
    # This SDK speaks for others only with the wildcard, which it also says when it connects: clientId=*.
    client = await realtime(client_id="*", use_binary_protocol=binary)
    presence = client.channels.get(name).presence
    await client.channels.get(name).attach()
    await asyncio.gather(*(presence.enter_client(f"c{i}", str(i)) for i in range(20)))
    observer = await realtime(use_binary_protocol=not binary)
    members = await asyncio.wait_for(observer.channels.get(name).presence.get(), TIMEOUT)
    assert {m.client_id: m.data for m in members} == {f"c{i}": str(i) for i in range(20)}


async def test_presence_ends_with_the_connection(realtime, name):
    member = await realtime(client_id="ann")
    watcher = await realtime()
    events = Gatherer()
    await watcher.channels.get(name).presence.subscribe(events.add)
    await member.channels.get(name).presence.enter("x")
    await events.until(1)
    await member.close()
    assert (await events.until(2))[1].action == PresenceAction.LEAVE


async def test_resume(realtime, rest, name, binary):
    client = await realtime(use_binary_protocol=binary, disconnected_retry_timeout=200)
    gatherer = Gatherer()
    await client.channels.get(name).subscribe(gatherer.add)
    manager = client.connection.connection_manager
    before = manager.connection_id
    await rest().channels.get(name).publish("n", "0")
    await gatherer.until(1)
    await manager.transport.dispose()
    manager.notify_state(ConnectionState.DISCONNECTED)
    for i in range(1, 5):
        await rest().channels.get(name).publish("n", str(i))
    await reached(client.connection, ConnectionState.CONNECTED)
    assert manager.connection_id == before
    assert [m.data for m in await gatherer.until(5)] == [str(i) for i in range(5)]


async def test_token_renewal(realtime, rest):
    calls = []

    async def callback(params):
        calls.append(params)
        return await rest().auth.request_token(token_params={"ttl": 2000} if len(calls) == 1 else None)

    client = await realtime(auth_callback=callback)
    change = await asyncio.wait_for(client.connection.once_async(ConnectionState.DISCONNECTED), TIMEOUT)
    assert change.reason.code == 40142
    await reached(client.connection, ConnectionState.CONNECTED)
    assert len(calls) == 2
