"""What nobody has established."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from neuroroute.simulator import PROFILES, Unknowns

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"


def test_the_page_lists_every_switch() -> None:
    """docs/simulator.md has every switch with its default, and no others."""
    table = PAGE.read_text(encoding="utf-8").partition("## What nobody knows")[2].partition("\n## ")[0]
    listed: dict[str, str] = {}
    for row in re.findall(r"^\| (`.+) \|$", table, re.MULTILINE):
        names, defaults, _ = row.split(" | ", 2)
        listed |= dict(zip(names.split(", "), defaults.split(", "), strict=True))
    unknowns = Unknowns()
    fields = {f"`{field.name}`": getattr(unknowns, field.name) for field in dataclasses.fields(Unknowns)}
    assert listed.keys() == fields.keys()
    assert all(default in ("a 400", f"`{fields[name]}`") for name, default in listed.items())


def test_the_page_lists_every_version() -> None:
    """docs/simulator.md has a column for every version, oldest first."""
    head = re.search(r"^\| +\| (0\..+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert head is not None
    assert [name.split()[0] for name in head[1].split(" | ")] == list(PROFILES)
