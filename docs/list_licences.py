# SPDX-License-Identifier: Apache-2.0
"""What each way to install brings, and under which licence: writes docs/licences.md from the packages installed here.

usage: python docs/list_licences.py
"""

from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

Packages = dict[str, Distribution | None]

PAGE = Path(__file__).with_name("licences.md")
PROJECT = "zipvoice-tts"
EXTRAS = ("chinese", "torch", "export", "openvino", "training", "evaluation", "benchmarks", "server")
MARK = "<!-- made by list_licences.py -->"
MAX_LENGTH = 60
"""Some packages give the text of their licence where its name belongs."""


def needed(package: Distribution, extra: str = "") -> Iterator[Requirement]:
    """What a package needs here, with one of its extras."""
    for requirement in map(Requirement, package.requires or ()):
        always = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if always if not extra else not always and requirement.marker.evaluate({"extra": extra}):
            yield requirement


def closure(
    requirements: Iterable[Requirement], known: dict[str, Distribution | None]
) -> dict[str, Distribution | None]:
    """All packages that requirements bring beside those that are `known`, by name; None for what is not installed."""
    found: Packages = {}
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = requirement.name.lower().replace("_", "-")
        if name in known or name in found:
            continue
        try:
            package = found[name] = distribution(name)
        except PackageNotFoundError:
            found[name] = None
            continue
        for extra in ("", *requirement.extras):
            waiting += needed(package, extra)
    return found


def licence(package: Distribution) -> str:
    """As its metadata names it: an expression, classifiers, or a line that is no heading of a whole text."""
    about = package.metadata
    if expression := about.get("License-Expression"):
        return expression
    classified = [line.split(" :: ")[-1] for line in about.get_all("Classifier") or () if line.startswith("License ::")]
    if classified and classified != ["OSI Approved"]:
        return ", ".join(classified)
    named = (about.get("License") or "").strip()
    return named if named and "\n" not in named and len(named) <= MAX_LENGTH else "see its files"


def rows(found: Packages) -> Iterator[str]:
    for name, package in sorted(found.items()):
        if package is not None:
            yield f"| {package.metadata['Name']} {package.version} | {licence(package)} |"
        else:
            yield f"| {name} | not installed where this table was made |"


def tables() -> str:
    """One table for the core, and one for each extra, of what it adds."""
    project = distribution(PROJECT)
    core = closure(needed(project), {})
    parts = ["## The core\n\n| package | licence |\n| --- | --- |\n" + "\n".join(rows(core))]
    for extra in EXTRAS:
        added = closure(needed(project, extra), core)
        if not added:
            continue
        parts.append(f"## `[{extra}]` adds\n\n| package | licence |\n| --- | --- |\n" + "\n".join(rows(added)))
    return "\n\n".join(parts)


def main() -> None:
    """Write the page anew below its mark."""
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(f"{head}{MARK}\n\n{tables()}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
