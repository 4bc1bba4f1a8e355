"""One server for the run, and clients that end with their test.

The SDK has two peculiarities on a plain local port: its websocket URL takes the host as it stands and adds no port,
and its REST part refuses basic authentication without TLS. So realtime clients get "host:port" as their endpoint, and
REST clients use tokens, which they sign for with the key.
"""

import asyncio
import json
import os
import pathlib
import queue
import shutil
import subprocess
import tempfile
import threading
import uuid

import pytest
from ably import AblyRealtime, AblyRest
from ably.realtime.connection import ConnectionState

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("FANFARE_BIN", ROOT / "target/debug/fanfare"))
TIMEOUT = 15


class Server:
    """A real server process: started, described by its ready line, ended by SIGTERM."""

    def __init__(self):
        if not BINARY.exists():
            pytest.exit(f"no server at {BINARY}: build it, or set FANFARE_BIN", returncode=2)
        self.dir = tempfile.mkdtemp(prefix="fanfare-py-")
        command = [BINARY, "serve", "--dev", "--listen", "127.0.0.1:0", "--data", self.dir, "--json"]
        command += os.environ.get("FANFARE_EXTRA_ARGS", "").split()
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        lines = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in self.process.stdout] and lines.put(""), daemon=True).start()
        line = lines.get(timeout=20)
        while line and not line.startswith("{"):
            line = lines.get(timeout=20)
        if not line:
            self.log.seek(0)
            pytest.exit(f"the server did not start:\n{self.log.read().decode()}", returncode=2)
        ready = json.loads(line)
        self.url, self.app_id, self.key = ready["url"], ready["appId"], ready["key"]
        self.port = int(self.url.rsplit(":", 1)[1].rstrip("/"))

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=15)
        shutil.rmtree(self.dir, ignore_errors=True)
        assert code == 0, f"the server ended with {code}"


@pytest.fixture(scope="session")
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
def binary(request):
    """Every test that names this fixture runs in both formats."""
    return request.param


@pytest.fixture
async def rest(server):
    """Makes REST clients."""
    made = []

    def make(**options):
        if not any(name in options for name in ("token", "token_details", "auth_callback")):
            options.setdefault("key", server.key)
            options.setdefault("use_token_auth", True)
        client = AblyRest(endpoint="127.0.0.1", port=server.port, tls=False, **options)
        made.append(client)
        return client

    yield make
    for client in made:
        await client.close()


@pytest.fixture
async def realtime(server):
    """Makes connected realtime clients."""
    made = []

    async def make(connect=True, **options):
        if not any(name in options for name in ("token", "token_details", "auth_callback")):
            options.setdefault("key", server.key)
        client = AblyRealtime(endpoint=f"127.0.0.1:{server.port}", tls=False, **options)
        made.append(client)
        if connect:
            await reached(client.connection, ConnectionState.CONNECTED)
        return client

    yield make
    for client in made:
        await client.close()


async def reached(connection, state):
    """Waits until a connection is in a state."""
    if connection.state != state:
        await asyncio.wait_for(connection.once_async(state), TIMEOUT)


class Gatherer:
    """Takes what a subscription delivers, and waits for as many as a test wants."""

    def __init__(self):
        self.items = []
        self._more = asyncio.Event()

    def add(self, item):
        self.items.append(item)
        self._more.set()

    async def until(self, count):
        async def enough():
            while len(self.items) < count:
                self._more.clear()
                await self._more.wait()

        try:
            await asyncio.wait_for(enough(), TIMEOUT)
        except asyncio.TimeoutError:
            pytest.fail(f"{len(self.items)} of {count} arrived: {self.items[-3:]}")
        return self.items


@pytest.fixture
def name(request):
    """A channel name of the test's own."""
    return f"{request.node.originalname}-{uuid.uuid4().hex[:8]}"
