"""The official Python client against the real server."""

import asyncio
import json
import urllib.request

import pytest
from conftest import EVERYTHING, once, within


def call(server, method, path, token, body=None):
    request = urllib.request.Request(
        f"{server.url}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.status, json.loads(response.read() or b"null")


async def test_publish_and_subscribe(connect, name):
    subscriber = await connect(permissions=[], topics=[name])
    await (await (subscriber.send("ready"))).wait_for_ack()
    publisher = await connect(sub="device-1")
    heard = once(subscriber, f"{name}.news")
    await (await publisher.publish(name, {"n": [1, None, "ü"]}, message_type="news")).wait_for_ack()
    message = (await within(heard))[0]
    assert message["data"]["payload"] == {"n": [1, None, "ü"]}
    assert message["data"]["client"] == {"connectionId": publisher.info["id"], "subject": "device-1"}
    assert message["compression"] is False


async def test_the_token_that_development_prints(connect, server, name):
    client = await connect(token=server.ready["clientToken"], topics=[f"secure/{name}"])
    heard = once(client, f"secure/{name}.broadcast")
    await (await client.publish(f"secure/{name}", 1)).wait_for_ack()
    assert (await within(heard))[0]["data"]["payload"] == 1


async def test_request_and_reply_both_ways(connect, name):
    backend = await connect(topics=["secure/inbound"])
    await (await backend.send("ready")).wait_for_ack()
    backend.on(f"secure/inbound.{name}", lambda message, reply: reply(message["data"]["payload"] * 2))
    client = await connect(permissions=[])
    (answer,) = await (await client.send(21, message_type=name)).wait_for_reply()
    assert (answer["data"], answer["status"]) == (42, "ok")

    client = await connect(topics=[name])
    client.on(f"{name}.ask", lambda message, reply: reply("yes", status="fine", compress=True))
    await (await client.send("ready")).wait_for_ack()
    (answer,) = await (await backend.publish(name, "?", message_type="ask")).wait_for_reply()
    assert (answer["data"], answer["status"]) == ("yes", "fine")


async def test_presence(connect, name):
    backend = await connect(topics=["secure/inbound"])
    await (await backend.send("ready")).wait_for_ack()
    events = asyncio.Queue()

    def presence(message, _):
        if message["data"]["client"]["subject"] == name:
            events.put_nowait(message["data"]["payload"])

    backend.on("secure/inbound.presence", presence)
    visitor = await connect(permissions=[], sub=name)
    assert await within(events.get()) == {"code": 0, "status": "connected"}
    await visitor.disconnect()
    assert await within(events.get()) == {"code": -1, "status": "disconnected"}


async def test_compressed(connect, name):
    client = await connect(topics=[name])
    for compress in (True, False):
        heard = once(client, f"{name}.{compress}")
        await (await client.publish(name, "fanfare " * 2000, message_type=f"{compress}", compress=compress)).wait_for_ack()
        message = (await within(heard))[0]
        assert message["compression"] is compress
        assert message["data"]["payload"] == "fanfare " * 2000


async def test_a_forbidden_topic_closes_the_connection(connect):
    client = await connect(permissions=[])
    closed = once(client, "close")
    await client.subscribe_remote_topic("secure/tasks")
    error = (await within(closed))[0]
    assert (error.rcvd.code, error.rcvd.reason) == (1008, "Subscription to secure topic is forbidden!")
    # It dials again at once, and comes in again.
    await within(once(client, "session.started"))


async def test_back_ends_over_http(connect, server, name):
    client = await connect(permissions=[], topics=[name], sub="someone@example.com")
    await (await client.send("ready")).wait_for_ack()
    admin = server.admin_token([*EVERYTHING, "realtime:admin:manage:connections"])
    heard = once(client, f"{name}.broadcast")
    path = f"/api/topics/{server.app_id}/publish"
    status, answer = await asyncio.to_thread(call, server, "POST", path, admin, {"topic": name, "message": {"n": 1}})
    assert (status, answer["subscribers"]) == (202, 1)
    assert (await within(heard))[0]["data"] == {"n": 1}
    closed = once(client, "close")
    path = f"/api/connections/{server.app_id}/{client.info['id']}"
    assert (await asyncio.to_thread(call, server, "DELETE", path, admin))[0] == 204
    assert (await within(closed))[0].rcvd.code == 4000


@pytest.mark.parametrize("payload", ["", "text", 0, -1.5, True, None, [], {}, {"deep": [[[{}]]]}])
async def test_payloads_arrive_as_they_were_sent(connect, name, payload):
    client = await connect(topics=[name])
    heard = once(client, f"{name}.broadcast")
    await client.publish(name, payload)
    assert (await within(heard))[0]["data"]["payload"] == payload
