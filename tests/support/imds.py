"""The EC2 instance metadata service on loopback, version 2 only; what it tells is set from the test.

with fake_imds(instance_id="i-1") as imds: run a node with `imds.variables`, then set `imds.target_state = "Terminated"`
"""

import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PATH = re.compile(r"/(latest|\d{4}-\d\d-\d\d)/(?P<tree>meta-data|user-data|dynamic)(/(?P<item>.*))?")
_ROLE = "node"


@dataclass
class FakeImds:
    """What the service tells now. An item that is None is not found; while it is `down` each request is answered 503.

    `tokens` holds those it gave and when they end; `refused` counts requests without one that holds.
    """

    instance_id: str = "i-0123456789abcdef0"
    region: str = "us-east-1"
    target_state: str | None = "InService"
    spot_action: str | None = None
    rebalance: str | None = None
    user_data: str | None = None
    down: bool = False
    tokens: dict[str, float] = field(default_factory=dict)
    refused: int = 0
    answered: int = 0
    url: str = ""

    @property
    def variables(self) -> dict[str, str]:
        """For the environment of whoever is to ask it."""
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url, "AWS_EC2_METADATA_DISABLED": "false"}

    def announce_spot_interruption(self) -> None:
        """EC2 takes the instance back in two minutes."""
        at = datetime.now(UTC) + timedelta(minutes=2)
        self.spot_action = json.dumps({"action": "terminate", "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")})

    def recommend_rebalance(self) -> None:
        """EC2 may take the instance back."""
        self.rebalance = json.dumps({"noticeTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")})

    def forget_tokens(self) -> None:
        """Take no token that was given so far."""
        self.tokens.clear()

    def found(self, path: str) -> str | None:
        """What stands under the path of a request; of a folder, its list."""
        asked = _PATH.fullmatch(path)
        if not asked:
            return None
        if asked["tree"] == "user-data":
            return self.user_data
        items = self._items() if asked["tree"] == "meta-data" else self._identity()
        item = (asked["item"] or "").rstrip("/")
        if item in items:
            return items[item]
        folder = f"{item}/" if item else ""
        below = {name.removeprefix(folder).partition("/") for name in items if name.startswith(folder)}
        return "\n".join(sorted({name + slash for name, slash, _ in below})) if below else None

    def _identity(self) -> dict[str, str]:
        document = {"instanceId": self.instance_id, "region": self.region, "version": "2017-09-30"}
        return {"instance-identity/document": json.dumps(document)}

    def _items(self) -> dict[str, str]:
        items = {
            "instance-id": self.instance_id,
            "placement/region": self.region,
            "autoscaling/target-lifecycle-state": self.target_state,
            "spot/instance-action": self.spot_action,
            "events/recommendations/rebalance": self.rebalance,
            f"iam/security-credentials/{_ROLE}": _role_credentials(),
        }
        return {path: value for path, value in items.items() if value is not None}


def _role_credentials() -> str:
    """Keys of the instance's role that no machine takes but one on loopback."""
    ends = datetime.now(UTC) + timedelta(hours=6)
    return json.dumps(
        {
            "Code": "Success",
            "LastUpdated": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Type": "AWS-HMAC",
            "AccessKeyId": "testing",
            "SecretAccessKey": "testing",
            "Token": "testing",
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    )


@contextmanager
def fake_imds(**state: Any) -> Iterator[FakeImds]:
    """Run the service on a free port; `state` are fields of `FakeImds`."""
    imds = FakeImds(**state)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            ttl = int(self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "0"))
            if imds.down or self.path != "/latest/api/token" or not 1 <= ttl <= 21_600:
                self._answer(503 if imds.down else 400)
                return
            token = secrets.token_urlsafe(32)
            imds.tokens[token] = time.monotonic() + ttl
            self._answer(200, token)

        def do_GET(self) -> None:
            if imds.down:
                self._answer(503)
            elif imds.tokens.get(self.headers.get("X-aws-ec2-metadata-token", ""), 0.0) < time.monotonic():
                imds.refused += 1
                self._answer(401)
            else:
                found = imds.found(self.path)
                imds.answered += 1
                self._answer(404 if found is None else 200, found or "")

        def _answer(self, status: int, text: str = "") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        imds.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield imds
        finally:
            http.shutdown()
            thread.join()
