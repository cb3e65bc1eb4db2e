"""``neuroroute models``: its commands and their options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from neuroroute.cli.command import EPILOG, URL_HELP, Command, F, completed_by, who

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuroroute.cli.choice import Engine


class _Models(click.Group):
    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without a command, the models are listed."""
        if ctx.resilient_parsing:  # Tab was pressed
            return super().parse_args(ctx, args)
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON value; on failure an object with `error`.")
_MODEL = click.argument("model", shell_complete=completed_by("models"))
_URL = click.option("--url", metavar="URL", help=URL_HELP)
_HOST = click.option(
    "--host",
    metavar="NAME",
    shell_complete=completed_by("hosts"),
    help="Which of several hosts, by its name or name and port.",
)
_COUNT = click.IntRange(min=1)


def _timeout(default: str) -> Callable[[F], F]:
    limit = click.FloatRange(min=0, min_open=True)
    return click.option("--timeout", type=limit, metavar="SECONDS", help=f"How long it may take. Default: {default}.")


@click.group(cls=_Models, epilog=EPILOG)
def models() -> None:
    """List the models, and get them into memory or onto the disk. Alone: `models list`."""


@models.command("list", epilog=EPILOG, short_help="List the models.")
@_JSON
@who
def list_(*, as_json: bool, engine: Engine | None, url: str | None) -> None:
    """List the models: a table; where it is piped, lines of columns parted by tabs."""
    from neuroroute.cli.models import models as run
    from neuroroute.cli.opening import Wish

    run(Wish(engine, url), as_json=as_json)


@models.command(epilog=EPILOG, short_help="Tell all that is known of one model.")
@_MODEL
@_JSON
@who
def show(*, model: str, as_json: bool, engine: Engine | None, url: str | None) -> None:
    """Tell all that is known of one model. MODEL may be how its key begins; auto is the loaded one."""
    from neuroroute.cli.modelactions import show as run
    from neuroroute.cli.opening import Wish

    run(Wish(engine, url), model, as_json=as_json)


@models.command(epilog=EPILOG, short_help="Load a model.")
@_MODEL
@click.option("--context-length", type=_COUNT, metavar="N", help="In tokens. Default of all: as LM Studio has it.")
@click.option("--eval-batch-size", type=_COUNT, metavar="N", help="Tokens of a prompt that are read at once.")
@click.option("--num-experts", type=_COUNT, metavar="N", help="Experts that are used, of a mixture.")
@click.option("--flash-attention/--no-flash-attention", default=None, help="Whether to use it.")
@click.option("--kv-cache-on-gpu/--kv-cache-off-gpu", "offload_kv_cache_to_gpu", default=None, help="Where it is.")
@_timeout("120")
@_JSON
@_HOST
@_URL
def load(*, model: str, timeout: float | None, as_json: bool, url: str | None, **config: Any) -> None:
    """Load a model, unless it is; prints the id to ask for. MODEL may be how its key begins."""
    from neuroroute.cli.modelactions import load as run

    run(url, model, {**config, "timeout_ms": _milliseconds(timeout)}, as_json=as_json)


@models.command(epilog=EPILOG, short_help="Take a model out of memory.")
@_MODEL
@_JSON
@_HOST
@_URL
def unload(*, model: str, as_json: bool, host: str | None, url: str | None) -> None:
    """Take a model out of memory, or one copy (llama3:2); prints the ids that were unloaded."""
    from neuroroute.cli.modelactions import unload as run

    run(url, model, host, as_json=as_json)


@models.command(epilog=EPILOG, short_help="Have LM Studio download a model.")
@_MODEL
@click.option("--quantization", metavar="NAME", help="Such as Q4_K_M; only where MODEL is a link.")
@_timeout("as long as it moves")
@_JSON
@_HOST
@_URL
def download(*, model: str, timeout: float | None, as_json: bool, url: str | None, **options: Any) -> None:
    """Have LM Studio download a model: an id of its catalogue, or a link to Hugging Face."""
    from neuroroute.cli.modelactions import download as run

    run(url, model, {**options, "timeout_ms": _milliseconds(timeout)}, as_json=as_json)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
