"""A real Prometheus that scrapes what the tests show it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSTALLED = shutil.which("prometheus") is not None and shutil.which("promtool") is not None

CONFIG = """
global: {{scrape_interval: 100ms, scrape_timeout: 100ms, evaluation_interval: 100ms}}
rule_files: [{rules}]
scrape_configs:
  - job_name: trouble
    static_configs: [{{targets: ["127.0.0.1:{trouble}"]}}]
  - job_name: service
    metrics_path: /metrics/
    static_configs: [{{targets: ["127.0.0.1:{service}"]}}]
"""


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[Any]:
        """The series that an expression gives now."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=5) as response:
            found: list[Any] = json.load(response)["data"]["result"]
        return found

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
                return True
        except (OSError, urllib.error.HTTPError):
            return False


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@contextmanager
def running(folder: Path, rules: Path, past: str, **ports: int) -> Iterator[Prometheus]:
    """Prometheus, until the end of the block.

    Args:
        folder: where it keeps its data.
        rules: its alerts; they fire at once.
        past: what it knows already, as OpenMetrics.
        **ports: what it scrapes: ``trouble`` and ``service``.
    """
    at_once = folder / "rules.yml"
    at_once.write_text(re.sub(r"for: \w+", "for: 0s", rules.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "prometheus.yml").write_text(CONFIG.format(rules=at_once, **ports), encoding="utf-8")
    (folder / "past.om").write_text(past, encoding="utf-8")
    data = folder / "data"
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "past.om", data]
    subprocess.run(command, check=True, capture_output=True)
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={data}"]
    process = subprocess.Popen(["prometheus", *options, f"--web.listen-address={address}", "--log.level=error"])
    try:
        prometheus = Prometheus(f"http://{address}")
        until = time.monotonic() + 20
        while not prometheus.is_ready():
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.05)
        yield prometheus
    finally:
        process.terminate()
        process.wait()
