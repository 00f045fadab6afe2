# SPDX-License-Identifier: Apache-2.0
"""Commands, actions, options and names completed in shells: the shell asks the program."""

import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from zipvoice.cli.parsing import EXIT_USAGE, note

Commands = Mapping[str, Callable[[list[str]], Any]]

SCRIPTS = {
    "bash": """_zipvoice() {
  local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=($(zipvoice completion words "${words[@]}" 2>/dev/null))
}
complete -o default -F _zipvoice zipvoice
""",
    "zsh": """_zipvoice() {
  local -a found
  found=(${(f)"$(zipvoice completion words "${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( $#found )); then compadd -a found; else _files; fi
}
compdef _zipvoice zipvoice
""",
    "fish": """function __zipvoice_words
  zipvoice completion words (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null
end
complete -c zipvoice -a '(__zipvoice_words)'
""",
}
WHERE = (
    'bash: eval "$(zipvoice completion bash)" in ~/.bashrc',
    'zsh:  eval "$(zipvoice completion zsh)" in ~/.zshrc, behind compinit',
    "fish: zipvoice completion fish | source, in ~/.config/fish/config.fish",
)


def completion(arguments: Sequence[str], commands: Commands) -> int:
    """Print a script for a shell, or the words that may stand at the end of a command line."""
    match list(arguments):
        case [shell] if shell in SCRIPTS:
            sys.stdout.write(SCRIPTS[shell])
        case ["words", *words]:
            sys.stdout.write("".join(f"{word}\n" for word in candidates(words, commands)))
        case given:
            usage = "\n  ".join(["usage: zipvoice completion bash | zsh | fish", *WHERE])
            if given in (["-h"], ["--help"]):
                sys.stdout.write(f"{usage}\n")
                return 0
            note(usage)
            return EXIT_USAGE
    return 0


def candidates(words: Sequence[str], commands: Commands) -> list[str]:
    """What the last of the words behind `zipvoice` may become; nothing where a file or a text is meant."""
    *before, last = words or [""]
    if not before:
        known: Iterable[str] = [*commands, "completion", "--help", "--version"]
    elif before == ["voice"]:
        known = _actions()
    elif before == ["completion"]:
        known = SCRIPTS
    elif before[0] in commands:
        known = _options(before, commands) if last.startswith("-") else _names(before)
    else:
        known = []
    return [word for word in known if word.startswith(last)]


def _actions() -> Iterable[str]:
    from zipvoice.cli.voices import ACTIONS

    return ACTIONS


def _options(before: Sequence[str], commands: Commands) -> Iterable[str]:
    """The options of a command, as its help names them."""
    actions = [word for word in before[1:2] if before[0] == "voice"]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit, ValueError):
        commands[before[0]]([*actions, "--help"])
    heads = re.findall(r"^  (-[^ ,]+(?:, -[^ ,]+)*)", shown.getvalue(), re.M)
    return [flag for head in heads for flag in head.split(", ")]


def _names(before: Sequence[str]) -> Iterable[str]:
    """Voices and models where those are wanted."""
    from zipvoice import builtin
    from zipvoice.pretrained import RELEASED
    from zipvoice.synthesis import voices

    if before[-1] in ("-v", "--voice") or list(before) in (["voice", "play"], ["voice", "remove"]):
        return voices.voices()
    return [*builtin.MODELS, *RELEASED] if before[-1] in ("-m", "--model") else []
