"""``neuroroute doctor``: its options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neuroroute.cli.command import EPILOG, URL_HELP, Command, completed_by

if TYPE_CHECKING:
    from neuroroute.cli.choice import Engine


@click.command(cls=Command, epilog=EPILOG, short_help="Find out what is wrong, and what to do.")
@click.option("--url", metavar="HOSTS", help=URL_HELP)
@click.option(
    "--engine",
    type=click.Choice(["lmstudio", "embedded"]),
    default="lmstudio",
    show_default=True,
    help="Whom to examine: LM Studio, or the embedded engine.",
)
@click.option(
    "--model",
    metavar="ID",
    shell_complete=completed_by("models"),
    help="The model to try. Default: the one that is loaded.",
)
@click.option(
    "--tools",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Check tool definitions, too: FILE.json as it would be sent, or FILE.py, which is run; repeatable.",
)
@click.option("--fix", is_flag=True, help="Do what can be done: load a model, if none is loaded.")
@click.option("--quick", is_flag=True, help="Ask no model anything: server, APIs and models only.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long the model may take for each answer. Default: 60.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all that was found.")
def doctor(
    *,
    url: str | None,
    engine: Engine,
    model: str | None,
    tools: Sequence[Path],
    fix: bool,
    quick: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Find out what is wrong with a server, why it matters and what to do.

    Looks at the server, its models and its speed, and tries short answers. Without --fix, nothing is changed there.
    The token is LM_API_TOKEN, or the hosts file's. Exit code 0: nothing is a problem.
    """
    from neuroroute.cli.doctor import doctor as run
    from neuroroute.cli.opening import Wish

    wish = Wish(engine, url, model)
    return run(wish, tools, fix=fix, quick=quick, as_json=as_json, timeout=timeout)
