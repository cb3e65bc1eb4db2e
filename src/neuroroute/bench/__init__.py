"""How fast models and hosts are: time to first token, speeds, throughput against concurrency, tool calls.

::

    from neuroroute.bench import Benchmark, Plan, find_targets

    plan = Plan(rounds=3, concurrency=(1, 2, 4))
    async with find_targets("localhost:1234", ["qwen3-8b", "llama3"], plan) as found:
        report = await Benchmark(found.targets, plan).measure()
    print(report.models[0].ttft_ms.median)

``draw(report, "out.svg")`` draws it; needs the extra ``bench``, which is loaded then.
"""

from neuroroute.bench.drawing import draw
from neuroroute.bench.figures import Spread
from neuroroute.bench.measure import Benchmark, Step, Target
from neuroroute.bench.plan import QUICK, Plan
from neuroroute.bench.report import ModelReport, Report
from neuroroute.bench.targets import Found, find_targets

__all__ = [
    "QUICK",
    "Benchmark",
    "Found",
    "ModelReport",
    "Plan",
    "Report",
    "Spread",
    "Step",
    "Target",
    "draw",
    "find_targets",
]
