from __future__ import annotations

import re
import struct
import sys
import xml.etree.ElementTree as ET
import zlib
from typing import TYPE_CHECKING

import msgspec
import pytest

from bench.simulated import PLAN, in_no_time, measured, paced, simulator
from neuroroute.bench import Report, checks, words
from neuroroute.bench.drawing import draw
from neuroroute.bench.figures import spread
from neuroroute.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def report() -> Report:
    """Of two models, the second with tool calls, and with a name that is a formula if one lets it."""

    async def run() -> Report:
        async with simulator(paced("llama3"), paced("$x^2$ & <b>")) as made:
            plan = msgspec.structs.replace(PLAN, tools=True)
            return await measured(made.url, ["llama3", "$x^2$ & <b>"], plan)

    made: Report = in_no_time(run)
    return made


def test_an_svg_has_the_figures(report: Report, tmp_path: Path) -> None:
    """The picture is a valid SVG whose texts are the figures, with colours for those who like it dark."""
    draw(report, tmp_path / "out.svg")
    drawn = (tmp_path / "out.svg").read_text(encoding="utf-8")
    assert ET.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    texts = {text.strip() for text in re.findall(r"<!--(.*?)-->", drawn)}  # matplotlib names what it draws
    assert {
        "llama3 · $x^2$ &amp; &lt;b&gt;",
        "192",  # tokens of a prompt per second
        "520",  # ms to the first token
        "50",  # tokens per second
        "20 / 20",
        "61.5",  # with four at once
        "0 of 6",
        "p50 20 p99 20",
    } <= {" ".join(text.split()) for text in texts}
    assert "prefers-color-scheme:dark" in drawn
    draw(report, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text(encoding="utf-8") == drawn


def test_a_png_is_one(report: Report, tmp_path: Path) -> None:
    """The picture is a PNG, whole, and not of one colour."""
    draw(report, tmp_path / "out.png")
    data = (tmp_path / "out.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", data[16:24])
    assert width == 1920
    assert height > 1000
    assert len({*zlib.decompress(pixels(data))[::97]}) > 20


def pixels(data: bytes) -> bytes:
    """The compressed pixels, their checksums compared."""
    found, place = b"", 8
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[place + 8 + size : place + 12 + size])[0]
        found += body if kind == b"IDAT" else b""
        place += 12 + size
    return found


def test_what_was_not_measured_is_drawn_too(report: Report, tmp_path: Path) -> None:
    """A model without any figure, and many models, are no reason not to draw."""
    nothing = msgspec.structs.replace(
        report.models[0], ttft_ms=None, gap_ms=None, levels=(), tools=None, ttft_samples_ms=(), gap_samples_ms=()
    )
    draw(msgspec.structs.replace(report, models=(nothing,), finished=False), tmp_path / "nothing.svg")
    draw(msgspec.structs.replace(report, models=(nothing, *report.models * 5)), tmp_path / "many.svg")
    assert "stopped before its end" in (tmp_path / "nothing.svg").read_text(encoding="utf-8")


def test_what_cannot_be_drawn_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another ending, no folder, a folder in place of a file; and without matplotlib, what to install."""
    for wrong in ("out.pdf", "out", "nowhere/out.png"):
        with pytest.raises(ConfigurationError, match=re.escape(wrong)):
            checks.check_picture(tmp_path / wrong)
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        checks.check_picture(tmp_path / "folder.svg")
    checks.check_picture(tmp_path / "OUT.SVG")
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError) as caught:
        checks.check_picture(tmp_path / "out.svg")
    assert caught.value.hint == 'pip install "neuroroute[bench]"'


def test_measuring_needs_no_matplotlib() -> None:
    """The room is loaded without matplotlib, which is the extra's."""
    import subprocess

    code = "import sys, neuroroute.bench, neuroroute.cli.bench; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("value", "told"), [(0, "0"), (0.123, "0.12"), (5, "5"), (12.34, "12.3"), (99.96, "100"), (1234.5, "1234")]
)
def test_numbers_have_three_digits(value: float, told: str) -> None:
    """A number is as long as it must be, and never has a power of ten."""
    assert words.number(value) == told


def test_a_median_has_its_spread() -> None:
    """Least and most stand behind a median where they differ; what is estimated has a mark; nothing is a dash."""
    assert words.ranged(spread([1, 2, 4])) == "2 (1-4)"
    assert words.ranged(spread([2.0001, 2.0]), estimated=True) == "~2"
    assert words.ranged(None) == "-"
    assert words.shortened("a-very-long-name-q4", 10) == "a-ve…me-q4"
    alike = ["a-very-long-name-q4", "b", "a-very-wide-name-q4"]
    assert words.labels(alike, 10) == ["a-ve…me-q4 (1)", "b", "a-ve…me-q4 (3)"]
