"""What all commands have in common: how they end, and the options that say who answers."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from neuroroute.cli.exits import (
    CUT_OFF,
    INTERRUPTED,
    TERMINATED,
    Terminated,
    as_object,
    exit_code,
    explained,
    stopped,
)
from neuroroute.errors import LMStudioError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])
Complete: TypeAlias = "Callable[[click.Context, click.Parameter, str], list[CompletionItem]]"

URL_HELP = (
    "LM Studio's address; several with commas between them, or a TOML file of hosts. "
    "Default: LMSTUDIO_URL, else localhost:1234."
)
EPILOG = "`neuroroute --help` lists the exit codes."


class Command(click.Command):
    """A command whose failures end in one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs it; whatever it raises that is ours becomes an exit code."""
        from neuroroute.cli.streams import is_broken_pipe, prepare, write_no_more

        prepare()
        signal.signal(signal.SIGTERM, _terminate)
        try:
            _refuse_what_is_no_text(ctx.params)
            code = super().invoke(ctx)
            sys.stdout.flush()
        except LMStudioError as error:
            _tell(error, as_json=ctx.params.get("as_json", False))
            code = exit_code(error)
        except (KeyboardInterrupt, Terminated) as stop:
            code = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
            if ctx.params.get("as_json", False):
                _tell_stopped(code)
        except OSError as error:
            if not is_broken_pipe(error):
                raise
            write_no_more()
            code = CUT_OFF
        if code:
            ctx.exit(code)


def _terminate(*_: object) -> None:
    raise Terminated(TERMINATED)


def _refuse_what_is_no_text(given: dict[str, Any]) -> None:
    from neuroroute.cli.streams import refuse_surrogates

    # Files may well have names that are none.
    for name in given.keys() & {"prompt", "system", "model", "url"}:
        refuse_surrogates("".join(given[name] or ""))


def _tell_stopped(code: int) -> None:
    import msgspec

    click.echo(msgspec.json.encode(stopped(code, None)))


def _tell(error: LMStudioError, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(as_object(error)))
        return
    from rich.text import Text

    from neuroroute.cli.streams import consoles

    _, aside = consoles()
    aside.print(Text(explained(error), style="red"))


def completed_by(name: str) -> Complete:
    """What completes an option or argument: a function of :mod:`neuroroute.cli.completing`, loaded on use."""

    def complete(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        from neuroroute.cli import completing

        found: list[CompletionItem] = getattr(completing, name)(ctx, parameter, begun)
        return found

    return complete


def who(command: F) -> F:
    """The options that say who answers."""
    for option in (
        click.option("--url", metavar="URL", help=URL_HELP),
        click.option(
            "--engine",
            type=click.Choice(["lmstudio", "embedded"]),
            help="Who answers. Default: LM Studio where it runs, else the embedded engine.",
        ),
    ):
        command = option(command)
    return command
