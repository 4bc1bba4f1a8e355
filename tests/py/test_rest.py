"""REST with the SDK: publishing, history, presence, status, tokens and their refusals."""

import asyncio

import pytest
from ably import AblyException, AblyRest
from ably.types.message import Message
from ably.util.crypto import CipherParams

from conftest import Gatherer
from test_realtime import PAYLOADS, same


async def test_time(server):
    client = AblyRest(token="none", endpoint="127.0.0.1", port=server.port, tls=False)
    import time

    assert abs(await client.time() - time.time() * 1000) < 60_000
    await client.close()


@pytest.mark.parametrize("prefix", ["", "persisted:"])
async def test_payloads_come_back(rest, name, binary, prefix):
    channel = rest(use_binary_protocol=binary).channels.get(prefix + name)
    for key, value in PAYLOADS.items():
        await channel.publish(key, value)
    for other in (False, True):
        page = await rest(use_binary_protocol=other).channels.get(prefix + name).history(direction="forwards")
        assert [m.name for m in page.items] == list(PAYLOADS)
        for message in page.items:
            assert same(message.data, PAYLOADS[message.name]), message.name


async def test_encrypted_history(rest, name, binary):
    cipher = CipherParams(secret_key=b"0123456789abcdef")
    channel = rest(use_binary_protocol=binary).channels.get(name, cipher=cipher)
    await channel.publish("n", {"secret": 1})
    assert (await channel.history()).items[0].data == {"secret": 1}
    [raw] = (await rest(use_binary_protocol=binary).channels.get(name).history()).items
    assert "cipher+aes-128-cbc" in raw.encoding


async def test_history_pages(rest, name, binary):
    channel = rest(use_binary_protocol=binary).channels.get("persisted:" + name)
    for i in range(25):
        await channel.publish("n", str(i))
    for direction in ("forwards", "backwards"):
        page = await channel.history(limit=10, direction=direction)
        seen, sizes = [], []
        while page:
            seen += [m.data for m in page.items]
            sizes.append(len(page.items))
            page = await page.next() if page.has_next() else None
        expected = [str(i) for i in range(25)]
        assert seen == (expected if direction == "forwards" else expected[::-1])
        assert sizes == [10, 10, 5]
    second = await (await channel.history(limit=10)).next()
    assert [m.data for m in (await second.first()).items][0] == "24"


async def test_several_at_once(rest, realtime, name, binary):
    gatherer = Gatherer()
    await (await realtime()).channels.get(name).subscribe(gatherer.add)
    await rest(use_binary_protocol=binary).channels.get(name).publish(messages=[Message(f"n{i}", str(i)) for i in range(5)])
    assert [m.name for m in await gatherer.until(5)] == [f"n{i}" for i in range(5)]


async def test_ids_are_known(rest, name, binary):
    channel = rest(use_binary_protocol=binary).channels.get(name)
    await asyncio.gather(*(channel.publish(messages=[Message("n", "x", id="mine")]) for _ in range(4)))
    assert [m.id for m in (await channel.history()).items] == ["mine"]


async def test_odd_names(rest, binary):
    for odd in ("with/slash", "with space", "\u00fcn\u00ef", "q?x=1&y", "per%cent"):
        channel = rest(use_binary_protocol=binary).channels.get("odd:" + odd)
        await channel.publish("n", odd)
        assert (await channel.history()).items[0].data == odd


async def test_absent_fields_stay_absent(rest, name, binary):
    channel = rest(use_binary_protocol=binary).channels.get(name)
    await channel.publish()
    [message] = (await channel.history()).items
    assert message.name is None and message.data is None


async def test_presence(rest, realtime, name, binary):
    client = await realtime(client_id="ann")
    await client.channels.get(name).presence.enter({"a": 1})
    channel = rest(use_binary_protocol=binary).channels.get(name)
    [member] = (await channel.presence.get()).items
    assert (member.client_id, member.data) == ("ann", {"a": 1})
    await client.channels.get(name).presence.leave()
    assert (await channel.presence.get()).items == []
    assert len((await channel.presence.history()).items) == 2


async def test_status(rest, realtime, name, binary):
    await (await realtime()).channels.get(name).attach()
    details = await rest(use_binary_protocol=binary).channels.get(name).status()
    assert details.channel_id == name
    assert details.status.is_active is True
    assert details.status.occupancy.metrics.connections == 1
    assert details.status.occupancy.metrics.subscribers == 1


async def test_status_of_an_untouched_channel_is_active(rest, name):
    assert (await rest().channels.get(name).status()).status.is_active is True


async def test_tokens(rest, binary):
    client = rest(use_binary_protocol=binary)
    token = await client.auth.request_token(token_params={"client_id": "ann", "ttl": 12_345, "capability": {"a": ["subscribe", "publish"]}})
    assert token.client_id == "ann"
    assert token.expires - token.issued == 12_345
    assert token.capability.to_dict() == {"a": ["publish", "subscribe"]}
    limited = rest(token=token.token, use_binary_protocol=binary)
    await limited.channels.get("a").publish("n", "x")
    with pytest.raises(AblyException) as refusal:
        await limited.channels.get("b").publish("n", "x")
    assert (refusal.value.code, refusal.value.status_code) == (40160, 401)


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"capability": {"c": ["publish_"]}}, 400),
        ({"capability": {"c": []}}, 400),
        ({"ttl": -1}, 400),
        ({"ttl": 366 * 86_400_000}, 400),
        ({"timestamp": 1}, 401),
    ],
)
async def test_bad_token_requests(rest, binary, params, status):
    with pytest.raises(AblyException) as refusal:
        await rest(use_binary_protocol=binary).auth.request_token(token_params=params)
    assert refusal.value.status_code == status


async def test_foreign_client_id(rest, name, binary):
    token = await rest().auth.request_token(token_params={"client_id": "ann"})
    channel = rest(token=token.token, use_binary_protocol=binary).channels.get(name)
    with pytest.raises(AblyException) as refusal:
        await channel.publish(Message("n", "x", client_id="bob"))
    assert (refusal.value.code, refusal.value.status_code) == (40012, 400)


async def test_coded_refusals(rest, name, binary):
    channel = rest(use_binary_protocol=binary).channels.get(name)
    with pytest.raises(AblyException) as refusal:
        await channel.publish(messages=[Message(data="x", connection_key="should.be.wrong")])
    assert (refusal.value.code, refusal.value.status_code) == (40006, 400)
    with pytest.raises(AblyException) as refusal:
        await channel.publish(Message("n", "x"), {"_forceNack": True})
    assert (refusal.value.code, refusal.value.status_code) == (40099, 400)


async def test_raw_requests(rest, name, binary):
    client = rest(use_binary_protocol=binary)
    path = f"/channels/{name}/messages"
    made = await client.request("POST", path, "5", body={"name": "a", "data": "x"})
    assert made.status_code == 201 and made.items[0]["channel"] == name and made.items[0]["messageId"]
    missing = await client.request("GET", "/not-found", "5")
    assert missing.status_code == 404 and not missing.success
    wrong = await client.request("GET", path, "5", params={"limit": "abc"})
    assert wrong.status_code == 400 and wrong.error_code and wrong.error_message
