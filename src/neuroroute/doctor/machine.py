"""This machine: cores, load and memory, by what the standard library tells."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import msgspec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a machine; None where the system does not tell."""

    cores: int | None = None
    """Those that this process may use."""
    load: float | None = None
    """Programs that wanted to run in the last minute, on average."""
    memory_total: int | None = None
    """Bytes."""
    memory_available: int | None = None
    """Bytes that a new program could have without others being swapped out."""


def this_machine() -> Machine:
    """Looks at it; never fails."""
    total, available = _memory()
    return Machine(cores=_cores(), load=_load(), memory_total=total, memory_available=available)


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return None


def _memory() -> tuple[int | None, int | None]:
    if os.name == "nt":
        return _windows()
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None, None
    return total, _available(Path("/proc/meminfo"))


def _available(meminfo: Path) -> int | None:
    """What Linux says a new program could have; macOS tells only by a program of its own."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    told = next((line for line in lines if line.startswith("MemAvailable:")), "").split()
    return int(told[1]) * 1024 if len(told) > 1 and told[1].isdigit() else None


class _MemoryStatus(ctypes.Structure):
    """Windows' MEMORYSTATUSEX."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("percent_used", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("page_total", ctypes.c_uint64),
        ("page_available", ctypes.c_uint64),
        ("virtual_total", ctypes.c_uint64),
        ("virtual_available", ctypes.c_uint64),
        ("extended_available", ctypes.c_uint64),
    )


def _windows() -> tuple[int | None, int | None]:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    windows: Any = vars(ctypes)["windll"]  # only there
    if not windows.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None, None
    return int(status.total), int(status.available)
