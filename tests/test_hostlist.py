"""Which hosts there are, as people write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from neuroroute import ConfigurationError, HostSettings, LMStudioAdapter
from neuroroute.hostlist import read_hosts

STUDIO = "http://studio:1234/v1"


@pytest.mark.parametrize(
    "given",
    [
        ["studio:1234", "http://office:1234/v1/"],
        ("studio:1234", HostSettings(url="office:1234")),
        "studio:1234, office:1234",
        "studio:1234,office:1234,",
    ],
)
def test_hosts_are_listed_in_many_ways(given: Any) -> None:
    """A list, or a text with commas; addresses are completed as that of a single host is, and name the host."""
    hosts = read_hosts(given, "base_url", {})
    assert [(host.url, host.name) for host in hosts] == [
        (STUDIO, "studio:1234"),
        ("http://office:1234/v1", "office:1234"),
    ]


def written(folder: Path, text: str) -> Path:
    path = folder / "hosts.toml"
    path.write_text(text, encoding="utf-8")
    return path


FILE = """
[[hosts]]
url = "studio:1234"
name = "studio"
weight = 2
slots = 8
api_token_env = "STUDIO"

[[hosts]]
url = "office:1234"
"""


def test_a_file_lists_hosts(tmp_path: Path) -> None:
    """A TOML file has a table for each host; a token may stand in the environment instead of in it."""
    path = written(tmp_path, FILE)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as some editors begin a file
    for given in (path, str(path)):
        studio, office = read_hosts(given, "base_url", {"STUDIO": "sk-lm-a:b"})
        assert (studio.name, studio.weight, studio.slots, studio.api_token) == ("studio", 2, 8, "sk-lm-a:b")
        assert (office.name, office.weight, office.slots, office.api_token) == ("office:1234", 1, None, None)
        assert "sk-lm" not in repr(studio)


def test_the_environment_may_name_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMSTUDIO_URL takes what base_url takes: addresses with commas, or the path of a file."""
    monkeypatch.setenv("STUDIO", "sk-lm-a:b")
    for value in ("studio:1234,office:1234", str(written(tmp_path, FILE))):
        monkeypatch.setenv("LMSTUDIO_URL", value)
        assert [host.url for host in LMStudioAdapter("m").hosts] == [STUDIO, "http://office:1234/v1"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "base_url lists no host"),
        (["a:1", "ftp://b"], r"base_url\[1\] has the scheme 'ftp'"),
        (["a:1", 7], r"base_url\[1\] is 7"),
        (["a:1", "http://a:1/v1"], "two hosts with the url 'http://a:1/v1'"),
        ([HostSettings(url="a", name="x"), HostSettings(url="b", name="x")], "two hosts with the name 'x'"),
        (HostSettings(url="a", weight=0), "base_url.weight is 0; it must be a number over 0"),
        (HostSettings(url="a", weight=float("inf")), "base_url.weight"),
        (HostSettings(url="a", slots=0), "base_url.slots is 0"),
        (HostSettings(url="a", api_token="two\nlines"), "base_url.api_token must be printable"),
        (HostSettings(url="a", name="two\nlines"), "base_url.name"),
        (7, "base_url is a int; it must be an address, or a list of them"),
        (["a:1", "hosts.toml"], "base_url has the file 'hosts.toml' among others"),
        ("a:1,HOSTS.TOML", "base_url has the file 'HOSTS.TOML' among others"),
        ("nowhere.toml", "the hosts file nowhere.toml cannot be read: No such file"),
    ],
)
def test_what_is_wrong_is_named(given: Any, message: str) -> None:
    """A wrong host is a ConfigurationError that names it, and what would be right."""
    with pytest.raises(ConfigurationError, match=message):
        read_hosts(given, "base_url", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hosts = 1", "Expected `array`, got `int` - at `.hosts`|Expected `array`, got `int`"),
        ("[[hosts]]\nurl = 'a'\nwieght = 2", "unknown field `wieght`"),
        ("[[hosts]]\nweight = 2", "missing required field `url`"),
        ("[[hosts]\n", "is not as it should be"),
        ("[[hosts]]\nurl = 'a'\napi_token_env = 'NO'", "takes a token from NO, which the environment has not"),
        ("hosts = []", r"hosts.toml: hosts lists no host"),
        ("[[hosts]]\nurl = 'a'\nweight = 0", r"hosts.toml: hosts\[0\].weight is 0.0"),
        ("[[hosts]]\nurl = 'a'\napi_token = 'x'\napi_token_env = 'y'", "both api_token and api_token_env"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    """So is what is wrong in a hosts file, with the place."""
    with pytest.raises(ConfigurationError, match=message):
        read_hosts(written(tmp_path, text), "base_url", {})
