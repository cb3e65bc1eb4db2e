"""An LM Studio for tests: a real HTTP server on the loopback that behaves as the real one does, with faults on demand.

::

    async with Simulator() as lmstudio:          # or, without asyncio: with Simulator() as lmstudio
        lmstudio.answer("Hello there")
        ...                                      # point your code at lmstudio.url
        assert lmstudio.requests[-1].json["model"] == "llama3"

With pytest, ask for the fixture ``lmstudio``. The names below load on first use, so that the plugin costs nothing to
test runs that never ask for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroroute.simulator.answers import Answer, Fail, McpCall, StreamFault, WholeFault
    from neuroroute.simulator.catalogue import CATALOGUE, case_named
    from neuroroute.simulator.chaos import ChaosProxy
    from neuroroute.simulator.downloads import SimulatedDownload
    from neuroroute.simulator.faults import Fault, FaultPlan, parse_fault
    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.profiles import PROFILES, Profile
    from neuroroute.simulator.received import Received
    from neuroroute.simulator.recorder import Recorder
    from neuroroute.simulator.replay import Replay
    from neuroroute.simulator.server import Simulator
    from neuroroute.simulator.toxics import (
        Bandwidth,
        Blackhole,
        Cut,
        Freeze,
        Latency,
        NetworkFault,
        Refuse,
        Reset,
        Slicer,
        SlowClose,
    )
    from neuroroute.simulator.unknowns import Unknowns
    from neuroroute.simulator.wordings import ErrorCase

__all__ = [
    "CATALOGUE",
    "PROFILES",
    "Answer",
    "Bandwidth",
    "Blackhole",
    "ChaosProxy",
    "Cut",
    "ErrorCase",
    "Fail",
    "Fault",
    "FaultPlan",
    "Freeze",
    "Latency",
    "McpCall",
    "NetworkFault",
    "Profile",
    "Received",
    "Recorder",
    "Refuse",
    "Replay",
    "Reset",
    "SimulatedDownload",
    "SimulatedModel",
    "Simulator",
    "Slicer",
    "SlowClose",
    "StreamFault",
    "Unknowns",
    "WholeFault",
    "case_named",
    "parse_fault",
]

_HOME = {
    "ChaosProxy": "chaos",
    "SimulatedDownload": "downloads",
    "Fault": "faults",
    "FaultPlan": "faults",
    "parse_fault": "faults",
    "Bandwidth": "toxics",
    "Blackhole": "toxics",
    "Cut": "toxics",
    "Freeze": "toxics",
    "Latency": "toxics",
    "NetworkFault": "toxics",
    "Refuse": "toxics",
    "Reset": "toxics",
    "Slicer": "toxics",
    "SlowClose": "toxics",
    "Answer": "answers",
    "Fail": "answers",
    "McpCall": "answers",
    "StreamFault": "answers",
    "WholeFault": "answers",
    "CATALOGUE": "catalogue",
    "ErrorCase": "wordings",
    "case_named": "catalogue",
    "SimulatedModel": "models",
    "PROFILES": "profiles",
    "Profile": "profiles",
    "Received": "received",
    "Recorder": "recorder",
    "Replay": "replay",
    "Simulator": "server",
    "Unknowns": "unknowns",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
