"""A simulated help point or video-analytics box: events over HTTPS, as docs/operate/local-input.md asks for them.

    point = HelpPoint("127.0.0.1", 8443, anchors, token="…")
    key = await point.press("panic.pressed", {"intercom": 3})     # returns once the gateway has answered 202
    await point.stage(key)                                        # "stored", "received", "acknowledged"
    await point.flood("intrusion.detected", 100)                  # Counter({202: 20, 429: 80})

It is somebody else's client: `http.client` and `ssl`, nothing of the gateway. A press is repeated with its key until
it is accepted; a source that is told it may not (401, 403, 422 …) stops and says so.
"""

import asyncio
import http.client
import json
import ssl
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

AGAIN: Final = frozenset({408, 409, 429, 500, 503})  # statuses that ask to come again
WAITS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds between tries; the last for ever
PATIENCE: Final = 10.0  # seconds for one request

Answer = tuple[int, dict[str, Any]]


class HelpPointError(Exception):
    """The gateway will not take this, however often it is said."""


class HelpPoint:
    """One source; with a token, or with a client certificate and its key."""

    def __init__(
        self,
        host: str,
        port: int,
        trust_anchors: Path,
        *,
        token: str | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._token = token
        self._context = ssl.create_default_context(cafile=trust_anchors)
        if certificate is not None:
            self._context.load_cert_chain(certificate, key)
        self.tries = 0  # requests that were made, whatever became of them

    async def press(self, type_: str = "panic.pressed", data: Mapping[str, Any] | None = None, *, key: str = "") -> str:
        """Raise an event and go on until the gateway has it durably; return its key. Raises HelpPointError."""
        key = key or str(uuid.uuid4())
        loop = asyncio.get_running_loop()
        pressed, tries = loop.time(), 0
        while True:
            try:
                status, said = await self.post(type_, data, key, age_ms=round((loop.time() - pressed) * 1000))
            except (OSError, http.client.HTTPException):  # nobody there, or it was cut off
                status, said = 503, {}
            if status == 202:
                return key
            if status not in AGAIN:
                raise HelpPointError(f"{status}: {said.get('detail', '')}")
            await asyncio.sleep(WAITS[min(tries, len(WAITS) - 1)])
            tries += 1

    async def post(self, type_: str, data: Mapping[str, Any] | None, key: str, *, age_ms: int = 0) -> Answer:
        """Say it once; return the answer's status and document. Raises OSError or HTTPException."""
        body = {"type": type_, "age_ms": age_ms, **({"data": dict(data)} if data else {})}
        return await self.request("POST", "/v1/events", json.dumps(body), {"Idempotency-Key": f'"{key}"'})

    async def stage(self, key: str) -> str | None:
        """Return how far an event has come; None: the gateway knows nothing of it."""
        status, said = await self.request("GET", f"/v1/events/{key}")
        return str(said["stage"]) if status == 200 else None

    async def flood(self, type_: str, count: int, *, at_once: int = 4) -> Counter[int]:
        """Raise so many different events as fast as the gateway answers; return how often it answered what."""
        answers: Counter[int] = Counter()
        left = iter(range(count))

        async def one_after_the_other() -> None:
            for _number in left:
                try:
                    status, _said = await self.post(type_, None, str(uuid.uuid4()))
                except (OSError, http.client.HTTPException):
                    status = 0
                answers[status] += 1

        await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
        return answers

    async def request(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Make one request on a connection of its own."""
        self.tries += 1
        return await asyncio.to_thread(self._request, method, path, body, dict(headers or {}))

    def _request(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._context, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            document = json.loads(response.read(65_536) or b"{}")
            return response.status, document if isinstance(document, dict) else {}
        except ValueError as error:
            raise http.client.HTTPException("an answer that is no JSON") from error
        finally:
            connection.close()
