"""Tab in bash, where words have colons: bash takes ``localhost:1234`` and ``llama3:2`` for three words each.

Click gives the program bash's words; here it has the line as it stands before the cursor, and gives bash back what
stands behind the last colon. Loaded only when bash asks, or for its script.
"""

from __future__ import annotations

import os
from typing import ClassVar

from click.shell_completion import BashComplete, add_completion_class, split_arg_string

_SOURCE = r"""
%(complete_func)s() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}" response completion type value
    local word="${line##*[[:space:]]}"
    local kept="${word%%"${word##*[:=]}"}"
    response=$(env COMP_WORDS="$line" %(complete_var)s=bash_complete "$1")
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain) COMPREPLY+=("${value#"$kept"}") ;;
        esac
    done
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class LineComplete(BashComplete):
    """Asks with the whole line."""

    source_template: ClassVar[str] = _SOURCE

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one at the cursor, and that one as far as it goes."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        begun = words.pop() if words and not line[-1:].isspace() else ""
        return words[1:], begun


def teach() -> None:
    """Makes it the way in which click speaks with bash."""
    add_completion_class(LineComplete)
