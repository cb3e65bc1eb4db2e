from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from bench.simulated import PLAN, in_no_time, measured, paced, simulator
from neuroroute.bench import Report, find_targets
from neuroroute.bench.remarks import failures, how, remarks
from neuroroute.errors import (
    LMStudioError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelUnavailableError,
    NetworkError,
)
from neuroroute.hostlist import HostSettings

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = "127.0.0.1:9"


def refused(models: list[str], hosts: str | None = None, **plan: int) -> LMStudioError:
    async def run() -> LMStudioError:
        async with simulator(paced("llama3"), paced("nomic", type="embedding")) as made:
            with pytest.raises(LMStudioError) as caught:
                await measured(hosts or made.url, models, msgspec.structs.replace(PLAN, **plan))
            assert all(received.method == "GET" for received in made.requests)
            return caught.value

    error: LMStudioError = in_no_time(run)
    return error


def test_what_cannot_be_is_refused_before_a_model_is_asked() -> None:
    """An unknown model, none, a context that is too short, no such host: an error, and no prompt is sent."""
    unknown = refused(["lama3"])
    assert isinstance(unknown, ModelNotFoundError)
    assert unknown.hint == "Did you mean llama3?"
    assert isinstance(refused([]), ModelInvalidRequestError)
    too_long = refused(["llama3"], prompt_tokens=4090)
    assert isinstance(too_long, ModelInvalidRequestError)
    assert "4096" in too_long.message
    assert isinstance(refused(["llama3"], NOBODY), NetworkError)
    assert "makes embeddings" in refused(["nomic"]).message


def test_what_is_missing_is_told_and_the_rest_is_measured() -> None:
    """A host that is down, and one that lacks the model, are named; the others are targets, with the host's name."""

    async def run() -> None:
        async with simulator(paced("a")) as one, simulator(paced("a"), paced("b")) as other:
            hosts = [HostSettings(url=one.url, name="one"), HostSettings(url=other.url, name="other"), NOBODY]
            async with find_targets(hosts, ["a", "b", "a"], PLAN) as found:
                told = [(target.model, target.host) for target in found.targets]
                assert told == [("a", "one"), ("a", "other"), ("b", "other")]
                assert found.missing[0] == "Without b on one, which does not have it."
                assert found.missing[1].startswith(f"Without {NOBODY}: no connection")

    in_no_time(run)


def test_auto_is_whichever_is_loaded() -> None:
    """The model ``auto`` is on each host whichever is loaded there; where none is, that is told before it is asked."""

    async def run() -> None:
        async with (
            simulator(paced("idle", loaded=False), paced("a")) as one,
            simulator(paced("b")) as other,
            find_targets([one.url, other.url], ["auto"], PLAN) as found,
        ):
            assert [target.model for target in found.targets] == ["a", "b"]
        async with simulator(paced("idle", loaded=False)) as empty:
            with pytest.raises(ModelUnavailableError, match="no model"):
                async with find_targets(empty.url, ["auto"], PLAN):
                    pass

    in_no_time(run)


def test_a_token_of_a_host_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a host hold for its measuring, too; a file of hosts may leave its token in the environment."""
    monkeypatch.setenv("STUDIO_TOKEN", "sk-lm-a:b")

    async def run() -> None:
        made = simulator(paced("a"))
        made.api_token = "sk-lm-a:b"
        async with made:
            file = tmp_path / "hosts.toml"
            file.write_text(f"[[hosts]]\nurl = '{made.url}'\napi_token_env = 'STUDIO_TOKEN'\n", encoding="utf-8")
            for hosts in ([HostSettings(url=made.url, api_token="sk-lm-a:b")], str(file)):
                assert (await measured(hosts, ["a"])).failed == 0

    in_no_time(run)


def test_a_plain_report_has_no_remarks() -> None:
    """Where nothing is odd nothing is remarked, how it was measured is told; it goes to JSON and back."""

    async def run() -> None:
        async with simulator(paced("a")) as made:
            report = await measured(made.url, ["a"])
        assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
        assert (remarks(report), failures(report)) == ([], [])
        assert how(report).startswith("2 rounds, prompts of about 100 tokens, answers of at most 40; ")

    in_no_time(run)
