"""One server for the run, and official clients that end with their test."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import uuid

import pytest
from realtime_pubsub_client.client import RealtimeClient

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = pathlib.Path(os.environ.get("FANFARE_BIN", ROOT / "target/debug/fanfare"))
TIMEOUT = 10
EVERYTHING = ["realtime:publisher:write:topic:*", "realtime:subscriber:read:topic:*"]


class Server:
    """A real server process: started, described by its ready line, ended by SIGTERM."""

    def __init__(self):
        if not BINARY.exists():
            pytest.exit(f"no server at {BINARY}: build it, or set FANFARE_BIN", returncode=2)
        self.dir = tempfile.mkdtemp(prefix="fanfare-py-")
        command = [BINARY, "serve", "--dev", "--listen", "127.0.0.1:0", "--data", self.dir, "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        if not line:
            pytest.exit("the server did not start", returncode=2)
        self.ready = json.loads(line)
        self.app_id, self.url = self.ready["appId"], self.ready["url"]

    def token(self, permissions, **claims):
        return sign(self.ready["clientKey"], {"permissions": permissions, **claims})

    def admin_token(self, permissions):
        return sign(self.ready["adminKey"], {"permissions": permissions})

    def socket_url(self, token):
        return f"{self.url.replace('http', 'ws', 1)}/apps/{self.app_id}?access_token={token}"

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=15)
        shutil.rmtree(self.dir, ignore_errors=True)
        assert code == 0, f"the server ended with {code}"


def sign(key, claims):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part({"exp": int(time.time()) + 60, **claims})
    mac = hmac.new(key.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


@pytest.fixture(scope="session")
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
async def connect(server):
    """Makes connected clients, subscribed to topics; `client.info` is what the welcome said."""
    made = []

    async def make(permissions=EVERYTHING, topics=(), token=None, **claims):
        token = token or server.token(permissions, **claims)
        client = RealtimeClient({"websocket_options": {"url_provider": server.socket_url(token)}})
        made.append(client)
        started = once(client, "session.started")

        async def subscribe(_):
            for topic in topics:
                await client.subscribe_remote_topic(topic)
            client.subscribed.set()

        client.subscribed = asyncio.Event()
        client.on("session.started", subscribe)
        await client.connect()
        client.info = (await within(started))[0]
        await within(client.subscribed.wait())
        return client

    yield make
    for client in made:
        await client.disconnect()


def once(client, event):
    """The next event, as its arguments."""
    come = asyncio.get_running_loop().create_future()

    def listener(*args):
        if not come.done():
            come.set_result(args)

    client.on(event, listener)
    return come


def within(awaitable):
    return asyncio.wait_for(awaitable, TIMEOUT)


@pytest.fixture
def name(request):
    """A topic of the test's own."""
    return f"{request.node.originalname}-{uuid.uuid4().hex[:8]}"
