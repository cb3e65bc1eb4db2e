from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute import ConfigurationError, LMStudioAdapter
from neuroroute.hostlist import normalise_url
from neuroroute.settings import find_settings
from neuroroute.simulator import Simulator


@pytest.mark.parametrize(
    ("given_url", "normal"),
    [
        ("localhost:1234", "http://localhost:1234/v1"),
        ("http://localhost:1234", "http://localhost:1234/v1"),
        ("http://localhost:1234/", "http://localhost:1234/v1"),
        ("http://localhost:1234/v1", "http://localhost:1234/v1"),
        ("http://localhost:1234/v1/", "http://localhost:1234/v1"),
        ("http://localhost:1234/v1/chat/completions", "http://localhost:1234/v1"),
        ("http://localhost:1234/chat/completions", "http://localhost:1234/v1"),
        ("http://localhost:1234/v1/models", "http://localhost:1234/v1"),
        ("http://localhost:1234/api/v0", "http://localhost:1234/v1"),
        ("http://localhost:1234/api/v1/", "http://localhost:1234/v1"),
        ("http://localhost:1234/api/v1/models", "http://localhost:1234/v1"),
        ("http://localhost:1234/api/v0/chat/completions", "http://localhost:1234/v1"),
        ("HTTP://LOCALHOST:1234", "http://localhost:1234/v1"),
        ("  http://localhost:1234\n", "http://localhost:1234/v1"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234/v1"),
        ("[::1]:1234", "http://[::1]:1234/v1"),
        ("studio", "http://studio/v1"),
        ("https://gate.example/lmstudio", "https://gate.example/lmstudio/v1"),
        ("https://gate.example/lmstudio/v1", "https://gate.example/lmstudio/v1"),
    ],
)
def test_urls_are_normalised(given_url: str, normal: str) -> None:
    """An address is taken as it was meant."""
    assert normalise_url(given_url) == normal
    assert normalise_url(normal) == normal


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("", "must be the address"),
        ("   ", "must be the address"),
        (5, "must be the address"),
        (["localhost"], "must be the address"),
        ("ftp://localhost", "scheme 'ftp'"),
        ("ws://localhost:1234", "scheme 'ws'"),
        ("file:///etc/passwd", "scheme 'file'"),
        ("http://", "names no host"),
        ("http:/localhost", "two slashes"),
        ("https:localhost:1234", "two slashes"),
        ("http://a b", "names no host"),
        ("http://localhost:port", "is no URL"),
        ("http://localhost:99999", "is no URL"),
        ("http://[::1", "is no URL"),
        ("http://user:secret@localhost", "credentials"),
        ("http://localhost/v1?key=1", "query"),
        ("http://localhost/v1#top", "fragment"),
    ],
)
def test_a_wrong_url_says_which_setting_and_what_is_right(wrong: Any, says: str) -> None:
    """A URL that cannot be right names its setting and shows a right one; it never shows credentials."""
    with pytest.raises(ConfigurationError, match=f"LMSTUDIO_URL.*{says}.*such as http://localhost:1234/v1") as caught:
        normalise_url(wrong, "LMSTUDIO_URL")
    assert "secret" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_normalised_or_refused(text: str) -> None:
    """No text makes it fail in another way, and what is normal stays as it is."""
    try:
        normal = normalise_url(text)
    except ConfigurationError:
        return
    assert normalise_url(normal) == normal
    assert normal.startswith(("http://", "https://"))


class Manager:
    """A configuration manager that remembers what it was asked."""

    def __init__(self, **values: Any) -> None:
        self.values = values
        self.asked: list[tuple[str, Any]] = []

    def get(self, key: str, default: Any) -> Any:
        self.asked.append((key, default))
        return self.values.get(key, default)


class AsyncManager(Manager):
    async def get(self, key: str, default: Any) -> Any:  # type: ignore[override]
        return super().get(key, default)


def app_with(manager: object) -> Any:
    return SimpleNamespace(state=SimpleNamespace(config_manager=manager))


async def resolve(app: Any = None, environ: dict[str, str] | None = None, **direct: Any) -> tuple[str, float]:
    given = {"base_url": None, "timeout_ms": None, "api_token": None, **direct}
    found = await find_settings(app=app, environ=environ or {}, **given).resolved()
    (host,) = found.hosts
    assert host.name == host.url.split("/")[2]
    return host.url, found.timeout_ms


ENVIRON = {"LMSTUDIO_URL": "env:1", "LMSTUDIO_TIMEOUT": "1000"}


@pytest.mark.parametrize("kind", [Manager, AsyncManager])
async def test_the_order_of_precedence(kind: type[Manager]) -> None:
    """Direct parameter > configuration manager > environment > default, for each setting by itself."""
    manager = kind(LMSTUDIO_URL="manager:2", LMSTUDIO_TIMEOUT="2000")
    assert await resolve() == ("http://localhost:1234/v1", 60_000)
    assert await resolve(environ=ENVIRON) == ("http://env:1/v1", 1000)
    assert await resolve(app_with(manager), ENVIRON) == ("http://manager:2/v1", 2000)
    assert await resolve(app_with(manager), ENVIRON, base_url="direct:3") == ("http://direct:3/v1", 2000)
    assert await resolve(app_with(manager), ENVIRON, timeout_ms=3000) == ("http://manager:2/v1", 3000)


async def test_the_manager_is_given_the_environments_value_as_default() -> None:
    """get(key, default) is asked with the environment's value, else the default, and is not asked needlessly."""
    manager = Manager()
    assert await resolve(app_with(manager), ENVIRON) == ("http://env:1/v1", 1000)
    assert manager.asked == [("LMSTUDIO_URL", "http://env:1/v1"), ("LMSTUDIO_TIMEOUT", 1000)]
    bare = Manager()
    await resolve(app_with(bare), base_url="direct:3")
    assert bare.asked == [("LMSTUDIO_TIMEOUT", 60_000)]


@pytest.mark.parametrize("app", [None, object(), SimpleNamespace(state=None), app_with(None), app_with(object())])
async def test_an_app_without_a_manager_changes_nothing(app: Any) -> None:
    """Anything without state.config_manager.get is as if no application was given."""
    assert await resolve(app, ENVIRON) == ("http://env:1/v1", 1000)


class Broken(Manager):
    def get(self, key: str, default: Any) -> Any:
        raise RuntimeError("vault is sealed")


@pytest.mark.parametrize(
    ("manager", "says"),
    [
        (Broken(), "failed when asked for LMSTUDIO_URL: RuntimeError: vault is sealed"),
        (Manager(LMSTUDIO_URL="ftp://x"), "LMSTUDIO_URL of the configuration manager has the scheme 'ftp'"),
        (Manager(LMSTUDIO_TIMEOUT="soon"), "LMSTUDIO_TIMEOUT of the configuration manager is 'soon'"),
    ],
)
async def test_a_managers_failure_is_a_configuration_error(manager: Manager, says: str) -> None:
    """A manager that raises or gives nonsense fails the call, as CONFIGURATION, and says for which setting."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        await LMStudioAdapter("m", app=app_with(manager)).generate_completion("hi")
    assert caught.value.code == "CONFIGURATION"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LMSTUDIO_TIMEOUT", "abc", "LMSTUDIO_TIMEOUT is 'abc'; it must be a number of milliseconds over 0"),
        ("LMSTUDIO_TIMEOUT", "0", "LMSTUDIO_TIMEOUT is '0'"),
        ("LMSTUDIO_TIMEOUT", "inf", "LMSTUDIO_TIMEOUT is 'inf'"),
        ("LMSTUDIO_URL", "ftp://x", "LMSTUDIO_URL has the scheme 'ftp'"),
        ("LM_API_TOKEN", "a\nb", "LM_API_TOKEN must be printable ASCII"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    """A wrong variable fails where the adapter is made, names itself and says what would be right."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=says):
        LMStudioAdapter("m")


def test_a_direct_parameter_makes_a_wrong_variable_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not used is not checked."""
    monkeypatch.setenv("LMSTUDIO_URL", "ftp://x")
    assert "127.0.0.1:1" in repr(LMStudioAdapter("m", base_url="127.0.0.1:1"))


@pytest.mark.parametrize("name", ["LMSTUDIO_URL", "LMSTUDIO_TIMEOUT", "LM_API_TOKEN"])
async def test_an_empty_variable_is_not_set(name: str) -> None:
    """A variable that is set to nothing is as if it was not there."""
    assert await resolve(environ={name: " "}) == ("http://localhost:1234/v1", 60_000)


async def test_the_manager_is_asked_once(lmstudio: Simulator) -> None:
    """Its answers are kept: a manager may be slow."""
    manager = AsyncManager(LMSTUDIO_URL=lmstudio.url)
    async with LMStudioAdapter("llama3", app=app_with(manager)) as adapter:
        await adapter.generate_completion("hi")
        await adapter.generate_completion("hi")
    assert len(manager.asked) == 2


async def test_a_manager_is_looked_for_when_it_is_needed(lmstudio: Simulator) -> None:
    """An application may put its manager up after the adapter was made, as FastAPI's lifespan does."""
    app = app_with(None)
    async with LMStudioAdapter("llama3", app=app) as adapter:
        app.state.config_manager = Manager(LMSTUDIO_URL=lmstudio.url)
        assert (await adapter.generate_completion("hi")).text == "You said: hi"


class HangingManager(Manager):
    async def get(self, key: str, default: Any) -> Any:  # type: ignore[override]
        await asyncio.Event().wait()


async def test_a_manager_that_knows_nothing_changes_nothing() -> None:
    """An empty text is as good as none, as with variables."""
    manager = Manager(LMSTUDIO_URL="", LMSTUDIO_TIMEOUT=" ")
    assert await resolve(app_with(manager), ENVIRON) == ("http://env:1/v1", 1000)


async def test_a_call_s_own_limit_holds_for_the_manager_too() -> None:
    """timeout_ms bounds everything, the question where to go included."""
    adapter = LMStudioAdapter("m", app=app_with(HangingManager()))
    with pytest.raises(ConfigurationError, match="did not answer within 40 ms"):
        await adapter.generate_completion("hi", timeout_ms=40)


async def test_a_manager_that_hangs_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager that never answers is a configuration error after the time limit, and is_available says no."""
    monkeypatch.setenv("LMSTUDIO_TIMEOUT", "50")
    adapter = LMStudioAdapter("m", app=app_with(HangingManager()))
    with pytest.raises(ConfigurationError, match="did not answer within 50 ms"):
        await adapter.generate_completion("hi")
    assert await adapter.is_available() is False


async def test_the_environment_is_used(lmstudio: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMSTUDIO_URL and LM_API_TOKEN alone are enough."""
    monkeypatch.setenv("LMSTUDIO_URL", lmstudio.url)
    monkeypatch.setenv("LM_API_TOKEN", "sk-lm-a:b")
    async with LMStudioAdapter("llama3") as adapter:
        await adapter.generate_completion("hi")
    assert lmstudio.requests[0].headers["Authorization"] == "Bearer sk-lm-a:b"
