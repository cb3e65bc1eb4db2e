"""``neuroroute bench``: its options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neuroroute.cli.command import EPILOG, Command, completed_by, who

if TYPE_CHECKING:
    from neuroroute.cli.choice import Engine


def _read_levels(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        levels = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of whole numbers, such as 1,2,4.") from None
    if not all(1 <= level <= 256 for level in levels):
        raise click.BadParameter("each must be from 1 to 256.")
    return levels


@click.command(cls=Command, epilog=EPILOG)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="ID",
    shell_complete=completed_by("models"),
    help="A model to measure; repeatable. Default: the loaded one.",
)
@click.option("--rounds", type=click.IntRange(1, 1000), metavar="N", help="How often all is measured. Default: 3.")
@click.option(
    "--prompt-tokens", type=click.IntRange(16, 1 << 20), metavar="N", help="Length of prompts, about. Default: 256."
)
@click.option("--max-tokens", type=click.IntRange(2, 1 << 20), metavar="N", help="Length of answers. Default: 64.")
@click.option(
    "--concurrency",
    callback=_read_levels,
    metavar="N,N",
    help="How many requests are sent at once; 1 is always among them. Default: 1,2,4.",
)
@click.option("--tools/--no-tools", default=None, help="Whether the model is asked to call tools. Default: yes.")
@click.option(
    "--quick", is_flag=True, help="A first look: 2 rounds, prompts of 64 tokens, answers of 32, 1 and 4 at once."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long an answer may take to begin. Default: 300.",
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw a picture, too: .png or .svg.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with everything; on failure it has `error`.")
@who
def bench(
    *,
    models: Sequence[str],
    quick: bool,
    timeout: float | None,
    plot: Path | None,
    as_json: bool,
    engine: Engine | None,
    url: str | None,
    **given: Any,
) -> int:
    """Measure how fast models and hosts are.

    Time to first token, speed of reading a prompt and of generation, time between tokens, throughput against the number
    of requests at once, and how many tool calls are valid. Several models and hosts take turns, so that what changes
    meanwhile hits all alike. Takes a minute or two, longer without a GPU; Ctrl-C shows what was measured so far.

    Exit code 1 where a request failed, or a host or model was left out.
    """
    import msgspec

    from neuroroute.bench import QUICK, Plan
    from neuroroute.cli.bench import Order
    from neuroroute.cli.bench import bench as run
    from neuroroute.cli.opening import Wish

    given["timeout_ms"] = None if timeout is None else timeout * 1000
    told = {name: value for name, value in given.items() if value is not None}
    plan = msgspec.structs.replace(QUICK if quick else Plan(), **told)
    return run(Order(Wish(engine, url), models, plan, plot, as_json))
