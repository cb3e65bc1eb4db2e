"""``neuroroute completion``: has a shell complete commands, options and models."""

from __future__ import annotations

import os
from pathlib import PurePath

import click

from neuroroute.cli.command import EPILOG, Command
from neuroroute.errors import ConfigurationError

_SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command, epilog=EPILOG)
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
def completion(*, shell: str | None) -> None:
    """Print a script with which Tab completes commands, options and models.

    SHELL is bash (4.4 or later), zsh or fish; without it, the one that SHELL in the environment names. Where the
    script goes:

    \b
      bash  mkdir -p ~/.local/share/bash-completion/completions
            neuroroute completion bash > ~/.local/share/bash-completion/completions/neuroroute
            (without the package bash-completion: eval "$(neuroroute completion bash)" in ~/.bashrc)
      zsh   eval "$(neuroroute completion zsh)"        in ~/.zshrc, below compinit
      fish  neuroroute completion fish > ~/.config/fish/completions/neuroroute.fish

    Models are those of the server at --url, else LMSTUDIO_URL, else localhost:1234, if it answers within half a second.
    """  # noqa: D301 - the mark keeps lines as they are
    from neuroroute.cli.completing import script

    named = PurePath(os.environ.get("SHELL", "")).name
    if shell is None and named not in _SHELLS:
        raise ConfigurationError(
            f"SHELL names {named}, for which there is no script" if named else "SHELL is not set",
            hint=f"Name one: neuroroute completion {'|'.join(_SHELLS)}",
        )
    click.echo(script(shell or named))
