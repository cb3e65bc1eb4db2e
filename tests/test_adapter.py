from __future__ import annotations

import asyncio
from typing import Any

import pytest

from neuroroute import (
    ConfigurationError,
    LMStudioAdapter,
    ModelInvalidRequestError,
    ModelRateLimitedError,
    RetryPolicy,
)
from neuroroute.options import DEFAULTS
from neuroroute.simulator import Fail, Simulator


def test_the_defaults_of_the_specification() -> None:
    """Every default of the specification's table is ours."""
    assert {name: DEFAULTS[name] for name in ("temperature", "max_tokens", "top_p", "initial_backoff")} == {
        "temperature": 0.7,
        "max_tokens": 1024,
        "top_p": 1,
        "initial_backoff": 1000,
    }
    assert (DEFAULTS["frequency_penalty"], DEFAULTS["presence_penalty"]) == (0, 0)
    assert DEFAULTS["system_message"] == "You are a helpful assistant."


def test_making_an_adapter_connects_nothing() -> None:
    """An adapter is made outside an event loop, before the server is up."""
    adapter = LMStudioAdapter("llama3")
    assert (adapter.model_id, adapter.supports_streaming()) == ("llama3", True)
    assert repr(adapter) == "<LMStudioAdapter 'llama3' at http://localhost:1234/v1>"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"model_id": ""}, "model_id"),
        ({"model_id": None}, "model_id"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"base_url": 5}, "base_url"),
        ({"api_token": ""}, "api_token"),
        ({"api_token": "a\r\nb"}, "api_token"),
        ({"tls": True}, "tls"),
        ({"proxy": 5}, "proxy"),
        ({"clock": 5}, "clock must have monotonic"),
        ({"model_id": "a\ud800"}, "model_id holds a lone surrogate"),
        ({"retry": 3}, "retry"),
        ({"random": 5}, "random"),
        ({"slots": 0}, "slots"),
        ({"max_request_bytes": 0}, "max_request_bytes"),
        ({"max_response_bytes": 1.5}, "max_response_bytes"),
    ],
)
def test_all_is_checked_at_construction(arguments: dict[str, Any], field: str) -> None:
    """A wrong setting fails where it is written, and is named."""
    with pytest.raises((ConfigurationError, ModelInvalidRequestError), match=field):
        LMStudioAdapter(**{"model_id": "m", **arguments})


async def test_a_call_s_own_value_wins(lmstudio: Simulator) -> None:
    """Options at the constructor are defaults for every call; as a dict they may come second, the older form."""
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, temperature=0.1, max_tokens=7) as adapter:
        await adapter.generate_completion("hi", temperature=0.2)
        await adapter.generate_completion("hi", {"temperature": 0.3})
        await adapter.generate_completion("hi", {"temperature": 0.3}, temperature=0.4)
        await adapter.generate_completion("hi", temperature=None)
    assert [received.json["temperature"] for received in lmstudio.requests] == [0.2, 0.3, 0.4, 0.1]
    assert {received.json["max_tokens"] for received in lmstudio.requests} == {7}


async def test_siblings_share_connections_and_inherit_defaults(lmstudio: Simulator) -> None:
    """with_model() makes an adapter for another model over the same connections; model= does it for one call."""
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, temperature=0.1, max_tokens=7) as adapter:
        sibling = adapter.with_model("qwen3-8b", max_tokens=8)
        await adapter.generate_completion("hi")
        await sibling.generate_completion("hi")
        await adapter.generate_completion("hi", model="qwen3-8b")
    sent = [received.json for received in lmstudio.requests]
    assert [(body["model"], body["max_tokens"], body["temperature"]) for body in sent] == [
        ("llama3", 7, 0.1),
        ("qwen3-8b", 8, 0.1),
        ("qwen3-8b", 7, 0.1),
    ]
    assert len({received.connection for received in lmstudio.requests}) == 1
    assert sibling.model_id == "qwen3-8b"


@pytest.mark.parametrize(
    "proxy",
    [
        "user:s3cret@proxy:8080",
        "socks5://user:s3cret@proxy:8080",
        "http://user:s3cret@proxy:port",
        "http://user:s3cret@proxy:99999",
        "http://user:s3cret@",
        "http://user:s3cret@pro xy:8080",
        "http://user:s3cret@proxy:8080\r\n",
        "http://user:s3cret\ud800@proxy:8080",
        "",
    ],
)
def test_a_wrong_proxy_is_named_and_never_shown(proxy: str) -> None:
    """What is wrong with a proxy's URL is said at construction, without the password in it."""
    with pytest.raises(ConfigurationError, match=r"proxy must be the URL of an HTTP proxy, such as http://") as caught:
        LMStudioAdapter("m", proxy=proxy)
    assert "s3cret" not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize(
    "proxy", ["http://proxy", "https://user:s3cret@proxy.example:8080/", "http://[::1]:3128", "HTTP://10.0.0.1:1"]
)
def test_a_right_proxy_is_taken(proxy: str) -> None:
    """A proxy is an http or https URL with a host; port and password are its own affair."""
    assert LMStudioAdapter("m", proxy=proxy).model_id == "m"


@pytest.mark.parametrize("max_backoff", ["1", True, None, -1, float("nan"), float("inf")])
def test_a_policy_is_checked_when_it_is_made(max_backoff: Any) -> None:
    """A cap that is no number of milliseconds is refused by its name."""
    with pytest.raises(ModelInvalidRequestError, match=r"RetryPolicy\.max_backoff must be a number"):
        RetryPolicy(max_backoff=max_backoff)


async def test_the_policy_s_cap_is_used(lmstudio: Simulator, clock: Any) -> None:
    """RetryPolicy bounds every back-off of ours."""
    lmstudio.fail(Fail(503, b""), times=3)
    policy = RetryPolicy(max_backoff=20)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, clock=clock, retry=policy) as adapter:
        await adapter.generate_completion("hi")
    assert len(clock.slept) == 3
    assert max(clock.slept) <= 0.02


async def test_direct_parameter_passing(lmstudio: Simulator, clock: Any) -> None:
    """The specification's timeoutMs, maxRetries and initialBackoff work for one call."""
    lmstudio.fail(Fail(429, {"error": "slow down"}), times=3)
    async with LMStudioAdapter("llama3", base_url=lmstudio.url, clock=clock) as adapter:
        with pytest.raises(ModelRateLimitedError):
            await adapter.generate_completion("Hello", timeout_ms=30000, max_retries=2, initial_backoff=500)
    assert len(lmstudio.requests) == 3
    assert clock.slept[0] <= 0.5
    assert clock.slept[1] <= 1


async def test_many_calls_at_once(adapter: LMStudioAdapter) -> None:
    """Calls side by side each get their own answer."""
    answers = await asyncio.gather(*(adapter.generate_completion(f"number {i}") for i in range(50)))
    assert [answer.text for answer in answers] == [f"You said: number {i}" for i in range(50)]
