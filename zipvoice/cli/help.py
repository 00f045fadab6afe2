# SPDX-License-Identifier: Apache-2.0
"""What `--help` shows: examples, positional arguments by name, options in groups, the rarely used ones last."""

import dataclasses
import inspect
import re
import shutil
import sys
import textwrap
import typing
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tyro

EXAMPLES = {
    "say": (
        'zipvoice say "Hello."',
        'zipvoice say "Hello." -v me.wav --voice-text "What me.wav says." -m zipvoice -o hello.wav',
        "zipvoice say --file chapter.txt -v kathleen -s 0.9 -o chapter.flac",
    ),
    "dialog": (
        'zipvoice dialog "[S1] Hello. [S2] Hi."',
        'zipvoice dialog "[S1] Hello. [S2] Hi." -v anna.wav bob.wav --voice-text "I am Anna." "I am Bob."',
    ),
    "batch": ("zipvoice batch lines.txt -v kathleen -o results", "zipvoice batch list.csv --dry-run"),
    "dub": ("zipvoice dub talk.srt -v me", "zipvoice dub talk.vtt --speaker Anna=anna Bob=bob -o talk.flac"),
    "voice save": ('zipvoice voice save me me.wav "What me.wav says."',),
    "voice play": ("zipvoice voice play me",),
    "voice list": ("zipvoice voice list",),
    "voice remove": ("zipvoice voice remove me",),
    "align": (
        'zipvoice align me.wav "What me.wav says."',
        "zipvoice align me.wav --file me.txt -o me.TextGrid",
    ),
    "tokenize": (
        'zipvoice tokenize "It costs $5." --explain',
        'zipvoice tokenize "Hallo" --tokenizer espeak --language de',
    ),
    "check": ("zipvoice check train.tsv --tokenizer espeak --language de",),
    "prepare": ("zipvoice prepare train.tsv --prefix mine --subset train --features",),
    "train": ("zipvoice train run.json --exp-dir exp/mine",),
    "finetune": ("zipvoice finetune zipvoice --train data/manifests/mine_cuts_train.jsonl.gz",),
    "average": ("zipvoice average --exp-dir exp/mine",),
    "merge": ("zipvoice merge --adapter exp/mine/adapter --output-dir exp/merged",),
    "evaluate": ("zipvoice evaluate list.tsv results",),
    "export": (
        "zipvoice export zipvoice_distill -o graphs --int8",
        "zipvoice export zipvoice_small_distill -o speech_sherpa --for sherpa",
    ),
    "search-steps": (
        "zipvoice search-steps exp/model",
        "zipvoice search-steps exp/model -n 6 --solver midpoint --dry-run",
    ),
    "bench": ("zipvoice bench", "zipvoice bench zipvoice_distill --runtime torch --dtype float32 bfloat16 --json"),
    "serve": ("zipvoice serve", "zipvoice serve -m zipvoice_distill --port 9000"),
}
UNSET = {
    "check": {"--tokenizer": "none; no tokens but those of a prepared manifest"},
    "prepare": {"--tokenizer": "none; training makes tokens"},
}
"""Of options that set something only where they are given: what holds without them."""
RARE = {
    "compatible", "contrast", "dtype", "first_chunk_seconds", "guidance_every", "guidance_interval", "guidance_scale",
    "keep_level", "match_spectrum", "max_batch_seconds", "max_chunk_seconds", "num_steps", "raw", "remove_long_silence",
    "revision", "runtime", "short_text_floor", "skip_unknown", "solver", "t_shift", "target_rms", "temperature",
    "time_contrast", "time_grid",
}  # fmt: skip
"""Options that few need."""
RARELY_USED = "rarely used"


@dataclasses.dataclass(frozen=True)
class Option:
    """An argument of a command, as its help shows it."""

    field: str
    flags: tuple[str, ...]
    """None for a positional argument."""
    value: str
    """What stands for its value."""
    text: str
    group: str


def show_help(
    kind: Any, name: str, spelled: Mapping[str, str], default: Any = None, config: Sequence[Any] = ()
) -> None:
    """Write the help of a command to standard output; `spelled` are other spellings of options, that are shown."""
    width = min(shutil.get_terminal_size((100, 24)).columns, 110)
    options = [respelled(option, spelled) for option in options_of(kind, default, config)]
    options = [_unset(option, UNSET.get(name, {})) for option in options]
    positional = [option for option in options if not option.flags]
    named = any(word.isupper() for word in re.split(r"[ .]", name))  # SOURCE, CONFIG.json
    words = [] if named else [option.value for option in positional]
    usage = f"zipvoice {name} {' '.join(words)} [options]"
    examples = EXAMPLES.get(" ".join(word for word in name.split() if word.islower()), ())
    lines = [f"usage: {' '.join(usage.split())}", "", *_description(kind, width)]
    lines += ["examples:", *(f"  {line}" for line in examples)] if examples else []
    for title, members in _grouped(options):
        lines += [*([""] if lines[-1] else []), f"{title}:"]
        for option in members:
            lines += _shown(option, width)
    sys.stdout.write("\n".join(lines) + "\n")


def respelled(option: Option, spelled: Mapping[str, str]) -> Option:
    """The option with the flags that people use."""
    others = [other for other, flag in spelled.items() if flag in option.flags]
    kept = [flag for flag in option.flags if not any(other.startswith("--") for other in others)]
    return dataclasses.replace(option, flags=(*others, *kept))


def _unset(option: Option, without: Mapping[str, str]) -> Option:
    holds = next((without[flag] for flag in option.flags if flag in without), None)
    text = option.text if holds is None else re.sub(r"\(default: .*\)$", f"(default: {holds})", option.text)
    return dataclasses.replace(option, text=text)


def _description(kind: Any, width: int) -> Iterable[str]:
    for paragraph in inspect.cleandoc(kind.__doc__ or "").split("\n\n"):
        for line in paragraph.split("\n") if re.search(r"^\w+: ", paragraph, re.M) else [" ".join(paragraph.split())]:
            yield from textwrap.wrap(line.strip(), width) or [""]
        yield ""


def _grouped(options: list[Option]) -> Iterable[tuple[str, list[Option]]]:
    titles = dict.fromkeys(option.group for option in options)
    last = [RARELY_USED] if RARELY_USED in titles else []
    for title in [title for title in titles if title != RARELY_USED] + last:
        yield title, [option for option in options if option.group == title]


def _shown(option: Option, width: int) -> Iterable[str]:
    head = "  " + (f"{', '.join(option.flags)} {option.value}" if option.flags else option.value).rstrip()
    indent = 26
    text = textwrap.wrap(option.text, width - indent) or [""]
    if len(head) <= indent - 2:
        return [f"{head:{indent}}{text[0]}", *(" " * indent + line for line in text[1:])]
    return [head, *(" " * indent + line for line in text)]


# ---------------------------------------------------------------- from the parser


def options_of(kind: Any, default: Any = None, config: Sequence[Any] = ()) -> Iterable[Option]:
    """The arguments of a command, in the order of their dataclass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        extra = {} if default is None else {"default": default}
        parser = tyro.extras.get_parser(kind, prog="zipvoice", config=config, **extra)
    titles = _titles(kind)
    for group in parser._action_groups:
        for action in group._group_actions:
            field = action.dest.rsplit(".", 1)[-1].replace("-", "_")
            yield Option(
                field,
                tuple(sorted(action.option_strings, key=len)),
                _value(action, field),
                _text(action),
                _group(str(group.title), field, bool(action.option_strings), titles),
            )


def _group(title: str, field: str, is_option: bool, titles: dict[str, str]) -> str:
    if not is_option:
        return "arguments"
    if title not in ("options", "options options"):
        return title  # a nested group, by its prefix
    return RARELY_USED if field in RARE else titles.get(field, "options")


def _titles(kind: Any) -> dict[str, str]:
    """By the name of a field that belongs to a part of the command: what the part is."""
    titles: dict[str, str] = {}
    for name, hint in typing.get_type_hints(kind, include_extras=False).items():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            what = (hint.__doc__ or name).split("\n")[0].split(". ")[0].rstrip(".")
            titles |= {field.name: what[0].lower() + what[1:] for field in dataclasses.fields(hint)}
    return titles


def _value(action: Any, field: str) -> str:
    if action.nargs == 0:
        return ""
    label = str(action.metavar or "")
    if not action.option_strings:
        several = " ..." if "..." in label else ""
        choices = label if label.startswith("{") and "None" not in label else field.upper()
        return f"[{choices}]" if action.nargs == "?" else choices + several
    for unwanted, kept in (("{None}|", ""), ("{None,", "{"), ("TEXT", "STR"), ("[STR [STR ...]]", "STR ...")):
        label = label.replace(unwanted, kept)
    repeated = re.fullmatch(r"\{?\[?(\w+)(?: \[\1)? \.\.\.\]?\]?\}?", label)
    label = f"{repeated[1]} ..." if repeated else re.sub(r"^\{(\w+(?: \w+)+)\}$", r"\1", label)
    return label.replace("STR", field.split("_")[-1].upper())


def _text(action: Any) -> str:
    text = " ".join(str(action.help or "").replace("%%", "%").split())
    text = re.sub(r" ?\((?:default: (?:None|False|)|required|optional)\)$", "", text)
    is_required = action.required and action.option_strings
    return f"{text} (required)" if is_required else text


def wants_help(arguments: Iterable[str]) -> bool:
    """Whether help is asked for."""
    return any(argument in ("-h", "--help") for argument in arguments)
