"""Alerts and dashboard on a real Prometheus, which scrapes an application that has all kinds of trouble."""

from __future__ import annotations

import asyncio
import json
import math
import re
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, start_http_server

from neuroroute import BreakerPolicy, LMStudioAdapter, LMStudioError
from neuroroute.simulator import Answer, Simulator
from neuroroute.telemetry.prometheus import PrometheusObserver
from telemetry.example_service import example_service
from telemetry.prometheus_server import INSTALLED, Prometheus, running

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
RULES = DOCS / "prometheus" / "rules.yml"
DASHBOARD: Any = json.loads((DOCS / "prometheus" / "dashboard.json").read_text(encoding="utf-8"))
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
ALERTS = [
    rule["alert"] for rule in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"] if "alert" in rule
]

# Under CI no skip is allowed: there .ci/run has installed it.
pytestmark = [
    pytest.mark.skipif(not INSTALLED, reason="Debian's package prometheus is not installed"),
    pytest.mark.xdist_group("prometheus"),
]


class LeapingClock:
    """Each look at it is five seconds later, so that every first chunk is late."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 5
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def lookup(name: str) -> str:
    return name


async def trouble(lmstudio: Simulator, metrics: PrometheusObserver, over: threading.Event) -> None:
    """Answers, late streams, tools, retries, a full queue and a host that is not there, until it is over."""
    call = '<tool_call>{"name": "lookup", "arguments": {"name": "Bob"}}</tool_call>'
    common: dict[str, Any] = {"observers": [metrics], "initial_backoff": 0}
    down = {"base_url": "127.0.0.1:9", "breaker": BreakerPolicy(minimum_calls=2), "max_retries": 1}
    async with (
        LMStudioAdapter("llama3", base_url=lmstudio.url, clock=LeapingClock(), **common) as late,
        LMStudioAdapter("queued", base_url=lmstudio.url, slots=1, **common) as full,
        LMStudioAdapter("absent", **down, **common) as absent,
    ):
        lmstudio.script(lambda request: Answer(call if "tools" in request.json else "hi", usage=USAGE))
        lmstudio.answer(Answer("slow", delay=60))
        waiting = [asyncio.ensure_future(full.generate_completion("hi")) for _ in range(14)]
        await lmstudio.wait_for_requests(1)
        while not over.is_set():
            lmstudio.fail("crash_null")
            await late.stream("hi").whole()
            with suppress(LMStudioError):  # it calls for ever
                await late.run_tools("hi", tools=[lookup], max_rounds=1)
            with suppress(LMStudioError):
                await absent.generate_completion("hi")
            await asyncio.sleep(0.02)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


USAGE = {"prompt_tokens": 100_000, "completion_tokens": 1000, "total_tokens": 101_000}


def a_quiet_day() -> str:
    """What is known of the last 26 hours: three tokens a second, give or take one."""
    now = int(time.time())
    lines = [
        f'neuroroute:tokens:rate1h{{model="llama3"}} {3 + (at // 600) % 2} {at}' for at in range(now - 93_600, now, 60)
    ]
    return "\n".join(["# TYPE neuroroute:tokens:rate1h gauge", *lines, "# EOF", ""])


@contextmanager
def in_trouble() -> Iterator[int]:
    """An application that has all kinds of trouble; the port of its metrics."""
    metrics = PrometheusObserver(registry=CollectorRegistry())
    server, serving = start_http_server(0, "127.0.0.1", metrics.registry)
    over = threading.Event()
    with Simulator() as lmstudio:
        app = threading.Thread(target=lambda: asyncio.run(trouble(lmstudio, metrics, over)))
        app.start()
        try:
            yield server.server_port
        finally:
            over.set()
            app.join()
            server.shutdown()
            server.server_close()
            serving.join()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus, with an application in trouble and the example's service beside it."""
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        in_trouble() as trouble,
        example_service() as service,
        running(folder, RULES, a_quiet_day(), trouble=trouble, service=service) as started,
    ):
        yield started


def settled(prometheus: Prometheus, expression: str) -> list[Any]:
    """The series of an expression, once there are any with a number."""
    until = time.monotonic() + 15
    while True:
        found = [one for one in prometheus.query(expression) if not math.isnan(float(one["value"][1]))]
        if found or time.monotonic() > until:
            return found
        time.sleep(0.1)


@pytest.mark.parametrize("alert", ALERTS)
def test_the_alert_fires(prometheus: Prometheus, alert: str) -> None:
    """Each alert fires in a real Prometheus on what really happens."""
    assert settled(prometheus, f'ALERTS{{alertname="{alert}", alertstate="firing"}}')


@pytest.mark.parametrize(
    ("title", "expression"), QUERIES, ids=[f"{title}-{at}" for at, (title, _) in enumerate(QUERIES)]
)
def test_the_panel_shows_something(prometheus: Prometheus, title: str, expression: str) -> None:
    """Each query of the dashboard gives a series with a number, of the example that runs."""
    for variable, value in (("$__rate_interval", "5s"), ("$model", ".*"), ("$host", ".*")):
        expression = expression.replace(variable, value)
    assert "$" not in expression
    expression = re.sub(r"(neuroroute_\w+)(?:{([^}]*)})?", r'\1{job="service",\2}', expression)
    assert settled(prometheus, expression), title


def test_the_variables_have_values(prometheus: Prometheus) -> None:
    """What can be chosen on the dashboard are labels that there are."""
    variables = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    for variable in variables:
        metric, label = variable["query"].removeprefix("label_values(").rstrip(")").split(", ")
        assert any(one["metric"].get(label) for one in settled(prometheus, metric)), variable["name"]
    assert [variable["name"] for variable in variables] == ["model", "host"]


def test_the_rules(tmp_path: Path) -> None:
    """Each alert fires on what it is for, and on nothing near it, over a day in an instant: promtool test rules."""
    tests = (HERE / "rules_test.yml").read_text(encoding="utf-8").replace("RULES", str(RULES))
    (tmp_path / "rules_test.yml").write_text(tests, encoding="utf-8")
    command = ["promtool", "test", "rules", tmp_path / "rules_test.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
