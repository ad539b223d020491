"""Other processes that speak with the local Hub, each with a cache, a token and an environment of its own."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from hub_server import HubServer


ROOT = Path(__file__).parents[2]
LONGEST = 300  # seconds of a call


class RemoteError(Exception):
    """What the other process raised: its class, a colon and its message."""


class Client:
    """Another process: `client("push", folder=..., repo_id=...)` calls the function of hub_client.py."""

    def __init__(self, hub: HubServer, home: Path, environment: dict[str, str | None], *options: str):
        self.hub, self.home = hub, home
        self.log_path = home.with_suffix(".log")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "tests" / "support" / "hub_client.py", *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment_of(hub, home) | environment,
                cwd=home.parent,
                text=True,
                encoding="utf-8",
            )

    def __call__(self, function: str, environment: dict[str, str | None] | None = None, /, **arguments: Any) -> Any:
        already = len(self.printed())
        call = {"name": function, "arguments": arguments, "environment": environment or {}}
        self.process.stdin.write(json.dumps(call, default=str) + "\n")
        self.process.stdin.flush()
        timer = threading.Timer(LONGEST, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        assert line, self.printed()[-5000:]
        assert_no_token(self.hub, line + self.printed()[already:])
        answer = json.loads(line)
        if "error" in answer:
            raise RemoteError(answer["error"])
        return answer["result"]

    def printed(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")


def environment_of(hub: HubServer, home: Path) -> dict[str, str]:
    """That of a user who is logged in as "someone" and has a cache in `home`."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return others | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_TOKEN": next(token for token, user in hub.users.items() if user == ("someone", "write")),
        "HF_HUB_DISABLE_XET": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "NO_PROXY": "127.0.0.1,localhost",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }


def assert_no_token(hub: HubServer, printed: str) -> None:
    """Neither in what was printed nor in any file that the Hub has."""
    pushed = [
        blob.data for repo in hub.repos.values() for commit in repo.commits.values() for blob in commit.files.values()
    ]
    for token in hub.users:
        assert token not in printed
        assert not any(token.encode() in data for data in pushed)
