"""Which split a piece belongs to: pure functions, with the same result for any runner, worker and order.

With percentages, a hash of the group id decides, so a group is never in two splits and a newcomer moves no other piece;
a split that chance leaves empty then gets a group of another one. With an expression, the source names the split.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from job_runtime.command_line import numerals
from job_runtime.command_line.expressions import expression
from job_runtime.command_line.numerals import counted
from job_runtime.command_line.settings import Kind, setting, shown
from midi_codec.dataset.dataset_info import SPLITS, DatasetInfo

DEFAULT_PERCENTS: tuple[int, ...] = (90, 5, 5)
ALIASES = {"train": "train", "training": "train", "valid": "validation", "val": "validation", "dev": "validation"}
ALIASES |= {"validation": "validation", "test": "test", "testing": "test"}
NUM_EXAMPLES = 3  # of paths named in a message
FEW_PIECES = 5  # fewer of them say little of a model


def parse_percents(text: str) -> tuple[int, ...]:
    """`90,5,5` as whole percentages of train, validation, test.

    Raises:
      ValueError: they are not three whole numbers from 0 that add up to 100.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != len(SPLITS) or not all(numerals.is_index(part) for part in parts):
        raise ValueError(f"want {PERCENTS.wanted}")
    percents = tuple(int(part) for part in parts)
    if sum(percents) != 100:
        raise ValueError(f"which adds up to {sum(percents)}, want 100")
    return percents


PERCENTS = Kind(f"three whole numbers that add up to 100: {', '.join(SPLITS)}", read=parse_percents)
SPLIT_REGEX = expression("split, such as '^(train|valid|test)/'")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitRule:
    """Either percentages, in the order of SPLITS, or an expression; never both."""

    percents: tuple[int, ...] | None = setting(
        None,
        "percentages of the splits; a hash of a piece's group decides",
        flag="--split-percents",
        metavar=",".join(SPLITS).upper(),
        kind=PERCENTS,
        default_text=shown(DEFAULT_PERCENTS),
    )
    regex: str | None = setting(
        None,
        "read the split from the path instead",
        flag="--split-regex",
        metavar="REGEX",
        kind=SPLIT_REGEX,
    )

    def __post_init__(self) -> None:
        if (self.percents is None) == (self.regex is None):
            raise ValueError("want either percentages or an expression")

    def assign(self, *, group_id: str, source: str) -> str:
        """The split of a piece."""
        if self.percents is not None:
            return split_of_group(group_id, self.percents)
        assert self.regex is not None
        split = split_of_source(source, re.compile(self.regex))
        if split is None:
            raise ValueError(f"{source}: no split in this path; the command checks this before it starts")
        return split

    def splits_of(self, sources: Iterable[str]) -> tuple[str, ...]:
        """The splits that get shards, empty ones included, in the order of SPLITS."""
        if self.percents is not None:
            return tuple(split for split, percent in zip(SPLITS, self.percents, strict=True) if percent)
        seen = {self.assign(group_id="", source=source) for source in sources}
        return tuple(split for split in SPLITS if split in seen)

    def settings(self) -> dict[str, Any]:
        """The rule as in `dataset_info.json`."""
        if self.percents is not None:
            return {"split_percents": dict(zip(SPLITS, self.percents, strict=True))}
        return {"split_regex": self.regex}


def split_of_group(group_id: str, percents: Sequence[int]) -> str:
    """The split of a group, from its id alone; percentages are of train, validation, test."""
    digest = hashlib.sha256(group_id.encode()).digest()
    share = int.from_bytes(digest[:8], "big") % 100
    for split, percent in zip(SPLITS, percents, strict=True):
        if share < percent:
            return split
        share -= percent
    raise ValueError(f"split percents must add up to 100, got {tuple(percents)}")


def has_empty(sizes: np.ndarray, percents: Sequence[int]) -> bool:
    """Whether a split that is to have pieces has none; `sizes`: of all splits."""
    return any(percent and not size for percent, size in zip(percents, sizes, strict=True))


def fill_empty(group_ids: np.ndarray, splits: np.ndarray, may_move: np.ndarray, percents: Sequence[int]) -> np.ndarray:
    """Gives every split with a percentage at least one group, as long as there are enough groups.

    A group with the fewest pieces moves, from the split that has the most groups; a hash decides between such groups.

    Args:
      group_ids: `[n]` S32, of each piece.
      splits: `[n]` index into SPLITS, the same for all pieces of a group.
      may_move: `[n]` bool; a group moves only as a whole.

    Returns:
      The new splits.
    """
    empty = [index for index, percent in enumerate(percents) if percent and not (splits == index).any()]
    if not empty:
        return splits
    ids, first, of_piece, sizes = np.unique(group_ids, return_index=True, return_inverse=True, return_counts=True)
    of_group = splits[first]
    is_movable = np.bincount(of_piece[~may_move], minlength=len(ids)) == 0
    for split in empty:
        counts = np.bincount(of_group, minlength=len(SPLITS))
        movable = np.flatnonzero(is_movable & (counts[of_group] > 1))
        if len(movable):
            donors = counts[of_group[movable]]
            movable = movable[of_group[movable] == of_group[movable[donors.argmax()]]]
            smallest = movable[sizes[movable] == sizes[movable].min()].tolist()
            of_group[min(smallest, key=lambda group: _rank(bytes(ids[group]), split))] = split
    return of_group[of_piece]


def _rank(group_id: bytes, split: int) -> bytes:
    return hashlib.sha256(f"fill {SPLITS[split]} ".encode() + group_id).digest()


def too_few(percents: Sequence[int], outcome: str) -> str:
    """A sentence for fewer groups than splits; it begins with `outcome`, which has the numbers."""
    wanted = [split for split, percent in zip(SPLITS, percents, strict=True) if percent]
    shown = ",".join(map(str, percents))
    return (
        f"{outcome}, too few for {len(wanted)} splits ({', '.join(wanted)}); want more music, or fewer splits than "
        f"--split-percents {shown} asks for, such as --split-percents 100,0,0"
    )


def split_of_source(source: str, expression: re.Pattern[str]) -> str | None:
    """The split that an expression finds in a path, by its group `split`, else by its first group; None if none."""
    name = _split_name(source, expression)
    return ALIASES.get(name.lower()) if name else None


def _split_name(source: str, expression: re.Pattern[str]) -> str | None:
    match = expression.search(source)
    if not match:
        return None
    return match.group("split" if "split" in expression.groupindex else 1)


def unmatched(regex: str, sources: Iterable[str]) -> list[str]:
    """Sentences on paths in which `--split-regex` finds no split."""
    expression = re.compile(regex)
    no_match: list[str] = []  # the first few
    num_without = num_sources = 0
    unknown: dict[str, list[str]] = {}
    for source in sources:
        num_sources += 1
        name = _split_name(source, expression)
        if name is None:
            num_without += 1
            no_match += [source] if num_without <= NUM_EXAMPLES else []
        elif name.lower() not in ALIASES and len(unknown.setdefault(name, [])) < NUM_EXAMPLES:
            unknown[name].append(source)
    problems = []
    if no_match:
        count = f"{num_without} of {num_sources}"
        problems.append(f"--split-regex {regex!r} matches nothing in {count} paths, such as {_paths(no_match)}")
    for name, where in sorted(unknown.items())[:NUM_EXAMPLES]:
        problems.append(
            f"--split-regex {regex!r} reads the split {name!r} from {_paths(where)}; want one of {', '.join(ALIASES)}"
        )
    return problems


def _paths(sources: Sequence[str]) -> str:
    return ", ".join(repr(source) for source in sources[:NUM_EXAMPLES])


def few_held_out(info: DatasetInfo) -> str | None:
    """A sentence if validation has few pieces, although the corpus has enough for more."""
    held_out, percent = info.splits["validation"].num_pieces, info.settings.get("split_percents", {}).get("validation")
    is_fixed = percent is None or info.settings.get("added_to") is not None
    if is_fixed or not 0 < percent < 20 or not held_out < FEW_PIECES <= info.examples // 5:
        return None
    few = f"validation has {counted(held_out, 'piece')}, too few to measure much"
    return f"{few}; --split-percents 80,20,0, with another --output, holds out more"
