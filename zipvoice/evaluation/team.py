# SPDX-License-Identifier: Apache-2.0
"""The processes that score one folder together."""

from dataclasses import dataclass
from typing import Any, Protocol


class Team(Protocol):
    """The processes of a run, each of which calls the same methods in turn."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def of_first(self, item: Any) -> Any:
        """What the first process gives, on all of them."""
        ...

    def gathered(self, item: Any) -> list[Any]:
        """What each process gives, by rank, on all of them."""
        ...


@dataclass(frozen=True)
class Alone:
    """A team of one."""

    rank: int = 0
    size: int = 1

    def of_first(self, item: Any) -> Any:
        return item

    def gathered(self, item: Any) -> list[Any]:
        return [item]


ALONE = Alone()
