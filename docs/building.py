"""What the builders of the generated pages have in common."""

from __future__ import annotations

import sys
from pathlib import Path


def build(made: str, page: Path) -> int:
    """Writes a page; with --check only says whether it is up to date."""
    if "--check" in sys.argv:
        return 0 if page.read_text(encoding="utf-8") == made else 1
    page.write_text(made, encoding="utf-8", newline="\n")
    return 0
