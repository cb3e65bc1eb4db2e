"""The commands and their options, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from neuroroute.cli.benchcommand import bench
from neuroroute.cli.choice import Engine
from neuroroute.cli.command import EPILOG, URL_HELP, Command, F, completed_by, who
from neuroroute.cli.completioncommand import completion
from neuroroute.cli.doctorcommand import doctor
from neuroroute.cli.environment import VARIABLES
from neuroroute.cli.exits import FAILED, MEANINGS
from neuroroute.cli.modelcommands import models

_EPILOG = "\n\n".join(
    f"\b\n{title}:\n" + "\n".join(f"  {name:{align}}  {meaning}" for name, meaning in rows)
    for title, align, rows in (("Exit codes", ">3", MEANINGS), ("Environment", "<21", VARIABLES))
)


class _Program(click.Group):
    command_class = Command

    def main(self, *args: Any, **more: Any) -> Any:
        """Runs it; output that cannot be written is one line on stderr and exit code 1."""
        if os.environ.get("_NEUROROUTE_COMPLETE", "").startswith("bash"):
            from neuroroute.cli.bashcompletion import teach

            teach()
        try:
            return super().main(*args, **more)
        except OSError as error:
            from neuroroute.cli.streams import write_no_more

            write_no_more()
            sys.stderr.write(f"The output cannot be written: {error.strerror or error}.\n")
            write_no_more()
            sys.exit(FAILED)


_COUNT = click.IntRange(min=1)
_MODEL = click.option(
    "--model",
    metavar="ID",
    shell_complete=completed_by("models"),
    help="The model to ask. Default: the one that is loaded.",
)


def _how(command: F) -> F:
    """The options of a request."""
    for option in (
        _MODEL,
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="How long to wait for the answer to begin; with --no-stream, for all of it. "
            "Default: LMSTUDIO_TIMEOUT, else 60.",
        ),
        click.option("--max-tokens", type=int, metavar="N", help="The longest answer; -1 for no limit. Default: 1024."),
        click.option("--temperature", type=float, metavar="T", help="0 is sober, 1 is lively. Default: 0.7."),
        click.option("--plain", is_flag=True, help="Print the answer as it was written, without drawing its Markdown."),
        click.option("--system", metavar="TEXT", help="How the model is to behave."),
    ):
        command = option(command)
    return command


def _options(temperature: float | None, max_tokens: int | None, timeout: float | None) -> dict[str, Any]:
    return {
        "temperature": temperature,
        "max_tokens": max_tokens,
        "timeout_ms": None if timeout is None else timeout * 1000,
    }


@click.group(cls=_Program, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="neuroroute", message="%(prog)s %(version)s")
def program() -> None:
    """Talk with a local model: in LM Studio, or in the embedded engine where there is none."""


@program.command(epilog=EPILOG)
@click.argument("prompt", nargs=-1)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="FILE",
    shell_complete=completed_by("files"),
    help="A PNG or JPEG to ask about; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, on failure or a signal with `error`.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is whole.")
@_how
@who
def ask(
    *,
    prompt: Sequence[str],
    images: Sequence[str],
    as_json: bool,
    no_stream: bool,
    plain: bool,
    system: str | None,
    temperature: float | None,
    max_tokens: int | None,
    timeout: float | None,
    engine: Engine | None,
    url: str | None,
    model: str | None,
) -> None:
    """Ask one question. What is piped in is appended to it; - reads it from the terminal."""
    from neuroroute.cli.ask import ask as run
    from neuroroute.cli.opening import Wish

    options = {**_options(temperature, max_tokens, timeout), "system_message": system}
    run(prompt, images, Wish(engine, url, model, options), as_json=as_json, streamed=not no_stream, plain=plain)


@program.command(epilog=EPILOG)
@_how
@click.option(
    "--resume", is_flag=False, flag_value="", metavar="[ID]", help="Go on with the newest chat, or with this."
)
@click.option("--list", "listed", is_flag=True, help="List the chats that were kept, and leave.")
@click.option("--json", "as_json", is_flag=True, help="With --list: a JSON list.")
@click.option("--no-keep", is_flag=True, help="Keep this chat nowhere.")
@click.option(
    "--tools",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE.py",
    help="Offer the @tool functions of a file, which is run for it; may be given more than once.",
)
@who
def chat(
    *,
    plain: bool,
    resume: str | None,
    listed: bool,
    as_json: bool,
    no_keep: bool,
    tools: Sequence[Path],
    system: str | None,
    temperature: float | None,
    max_tokens: int | None,
    timeout: float | None,
    engine: Engine | None,
    url: str | None,
    model: str | None,
) -> int:
    """Have a conversation, kept in a file of yours. Piped in, each line is a turn, unless it is a command."""
    from neuroroute.cli.chat import Plan
    from neuroroute.cli.chat import chat as run
    from neuroroute.cli.opening import Wish

    if listed:
        from neuroroute.cli.saved import show_saved
        from neuroroute.cli.streams import consoles

        show_saved(consoles()[0], as_json=as_json)
        return 0
    wish = Wish(engine, url, model, _options(temperature, max_tokens, timeout))
    return run(Plan(wish, system, plain, resume, not no_keep, tools))


program.add_command(models)
program.add_command(bench)
program.add_command(completion)
program.add_command(doctor)


@program.command(epilog=EPILOG)
@_MODEL
@who
def demo(*, engine: Engine | None, url: str | None, model: str | None) -> None:
    """See a short real conversation."""
    from neuroroute.cli.demo import demo as run
    from neuroroute.cli.opening import Wish

    run(Wish(engine, url, model, {"temperature": 0.0, "max_tokens": 400}))


@program.command(
    epilog=EPILOG,
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS] [--]",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--model-file", type=click.Path(path_type=Path), metavar="FILE", help="A GGUF file of yours.")
@click.option("--context-length", type=_COUNT, default=8192, show_default=True, metavar="N", help="In tokens.")
@click.option("--parallel", type=_COUNT, default=2, show_default=True, metavar="N", help="Requests answered at once.")
def engine(*, command: Sequence[str], model_file: Path | None, context_length: int, parallel: int) -> int:
    """Run the embedded engine.

    Until Ctrl-C; or as long as COMMAND runs, which finds the engine's address in LMSTUDIO_URL.
    """
    from neuroroute.cli.engine import engine as run

    return run(command, model_path=model_file, context_length=context_length, parallel=parallel)


@program.command(epilog=EPILOG)
@click.option(
    "--url",
    metavar="HOSTS",
    help=URL_HELP,
)
@click.option("--once", is_flag=True, help="Look once; without, on a terminal, until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON list; looks once.")
def hosts(*, url: str | None, interval: float, once: bool, as_json: bool) -> int:
    """Show the hosts, whether they are up, and what they have loaded; live, on a terminal."""
    from neuroroute.cli.hosts import hosts as run

    return run(url, interval, once=once, as_json=as_json)


def _read_faults(_: click.Context, __: click.Parameter, words: Sequence[str]) -> list[Any]:
    from neuroroute.simulator.faults import parse_fault

    try:
        return [parse_fault(word) for word in words]
    except ValueError as error:
        raise click.BadParameter(f"{error}\n`neuroroute simulate --list-faults` lists them all.") from None


@program.command(epilog=EPILOG)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=1234, show_default=True, metavar="N", help="0: any free."
)
@click.option(
    "--profile",
    metavar="VERSION",
    shell_complete=completed_by("profiles"),
    help="The version of LM Studio to be, as 0.3.5. Default: the newest.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    callback=_read_faults,
    metavar="WORD",
    shell_complete=completed_by("faults"),
    help="What goes wrong, as crash_null@10% or latency:200; repeatable.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="KEY",
    help="A model that it has; repeatable. The first is loaded, the others load on request. Default: llama3 and more.",
)
@click.option("--no-jit", is_flag=True, help="No model loads on request.")
@click.option("--token", metavar="TOKEN", help="The API token that it requires.")
@click.option("--answer", metavar="TEXT", help="What the model says. Default: an echo of the question.")
@click.option("--seed", type=int, metavar="N", help="The same chances each time.")
@click.option("--show-content", is_flag=True, help="Tell requests and answers, too.")
@click.option("--list-faults", is_flag=True, help="List the words for faults, and leave.")
@click.option("--json", "as_json", is_flag=True, help="On stdout a JSON object for each request, and nothing else.")
def simulate(
    *, faults: Sequence[Any], models: Sequence[str], no_jit: bool, list_faults: bool, seed: int | None, **more: Any
) -> None:
    """Run an LM Studio without a model, to test clients with; it fails as it is told.

    Ctrl-C or SIGTERM is how it is meant to end: with a summary, and exit code 0.
    """
    from neuroroute.cli.simulate import Setting
    from neuroroute.cli.simulate import list_faults as show
    from neuroroute.cli.simulate import simulate as run
    from neuroroute.simulator import FaultPlan

    if list_faults:
        show(as_json=more["as_json"])
        return
    run(Setting(FaultPlan(*faults, seed=seed), models=models, jit=not no_jit, seed=seed, **more))
