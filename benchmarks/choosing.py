"""What a fleet costs, and what a slow host does to it: ``make measure-fleet``.

Both are measured on the pipe as it is, over hosts without sockets: the cost of a choice in real time, the latencies
in a time that jumps, so that an hour of requests takes seconds and every run gives the same.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from random import Random
from statistics import median

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from fleet.fleets import Fleet, request, under_load  # noqa: E402

HOSTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
CHOICES = 2000
REQUESTS = 10_000
FAST = 7
LOADS = (0.3, 0.6, 0.85, 0.95)
SLOWER = (3, 10, 30)


def costs(count: int) -> tuple[float, float]:
    """Microseconds for a choice among so many hosts, and for a whole request without its network; medians."""

    async def measured() -> tuple[float, float]:
        async def at_once(_: object) -> None:
            """Answers."""

        fleet = await Fleet({f"host{number}": at_once for number in range(count)}).listed()
        random = Random(1)
        for place in fleet.hosts.places("m"):
            place.pace.learn(random.uniform(0.5, 2), time.monotonic())
        choices: list[float] = []
        requests: list[float] = []
        for number in range(CHOICES):
            asked = request(f"{number}")  # each a conversation of its own
            began = time.perf_counter()
            fleet.hosts.only_place(asked.model) or fleet.hosts.choose(asked)
            choices.append(time.perf_counter() - began)
            began = time.perf_counter()
            fleet.hosts.assign(asked)
            await fleet.send(asked)
            requests.append(time.perf_counter() - began)
        return median(choices) * 1e6, median(requests) * 1e6

    return asyncio.run(measured())


def beside_a_slow_host() -> list[tuple[float, int, float, float, float]]:
    """Load, how many times slower, p99 without and with the slow host, and its share."""
    rows: list[tuple[float, int, float, float, float]] = []
    fast = {f"fast{number}": 1.0 for number in range(FAST)}
    for load in LOADS:
        rate = load * FAST * 4
        without, _ = under_load(fast, rate, REQUESTS)
        for slower in SLOWER:
            beside, fleet = under_load({**fast, "slow": float(slower)}, rate, REQUESTS)
            at = int(REQUESTS * 0.99)
            rows.append((load, slower, without[at], beside[at], fleet.asked["slow"] / REQUESTS))
    return rows


def plot(spent: dict[int, tuple[float, float]], rows: list[tuple[float, int, float, float, float]], path: Path) -> None:
    """Draws both into one picture."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "neuroroute"
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for at, what in enumerate(("the choice", "the whole request, without its network")):
        left.plot(list(spent), [both[at] for both in spent.values()], marker="o", label=what)
    left.set(xscale="log", ylim=(0, None), xlabel="hosts", ylabel="µs")
    left.set_title("The cost of a request stays flat")
    left.legend(loc="center right", fontsize="small")
    for slower in SLOWER:
        points = [(load, beside / without) for load, times, without, beside, _ in rows if times == slower]
        right.plot(*zip(*points, strict=True), marker="o", label=f"one of eight is {slower} times slower")
    right.axhline(1.5, color="grey", linestyle=":", label="the limit that is tested")
    right.set(ylim=(0, 2), xlabel="load (1: all slots of the fast hosts are busy)", ylabel="p99 / p99 without it")
    right.set_title("A slow host hardly shows")
    right.legend(loc="lower right", fontsize="small")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture, too (needs matplotlib)")
    given = options.parse_args()
    spent = {count: costs(count) for count in HOSTS}
    print("hosts   µs per choice   µs per request, without its network")
    for count, (choice, whole) in spent.items():
        print(f"{count:5}   {choice:13.1f}   {whole:18.1f}")
    rows = beside_a_slow_host()
    print("\nload   slower   p99 without   p99 with   ratio   share of the slow host")
    for load, slower, without, beside, share in rows:
        print(f"{load:4}   {slower:5}x   {without:9.2f} s   {beside:6.2f} s   {beside / without:5.2f}   {share:7.2%}")
    if given.plot is not None:
        plot(spent, rows, given.plot)


if __name__ == "__main__":
    main()
