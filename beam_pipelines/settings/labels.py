"""Where the labels of pieces come from: an expression on their sources, and a file with a row per source."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from beam_pipelines.settings import label_file
from beam_pipelines.settings.label_file import KEYS, LabelFile
from job_runtime.command_line.numerals import counted
from job_runtime.command_line.settings import NONE, Kind, setting
from job_runtime.problem_report import UserError, first_few
from midi_codec.dataset import labels as labels_lib

ATTRIBUTES = ("key", "density", "polyphony", "instruments", "timing")  # `encoding.attributes` computes them
_ATTRIBUTES_WANTED = f"some of {', '.join(ATTRIBUTES)}, each once, separated by commas"
LABELS = "labels"  # the group of flags in `--help`
_REGEX_WANTED = "a regular expression whose named groups give labels, such as '^(?P<composer>[^/]+)/'"


def _read_regex(text: str) -> str:
    try:
        names = re.compile(text).groupindex
    except re.error as error:
        raise ValueError(f"which is not a regular expression: {error}") from error
    if problems := list(filter(None, map(labels_lib.name_problem, names))):
        raise ValueError(f"where {'; '.join(problems)}")
    if not names:
        raise ValueError(f"want {_REGEX_WANTED}")
    return text


def _read_attributes(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",")]
    if text == NONE:
        return ()
    if len(set(names)) != len(names) or not set(names) <= set(ATTRIBUTES):
        raise ValueError(f"want {_ATTRIBUTES_WANTED}")
    return tuple(name for name in ATTRIBUTES if name in names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelRule:
    """What gives labels; `digest` identifies the content of the file, `remarks` say what is not labelled."""

    regex: str | None = setting(
        None,
        "labels from the path: each named group is one",
        flag="--label-regex",
        group=LABELS,
        metavar="REGEX",
        kind=Kind(_REGEX_WANTED, read=_read_regex),
    )
    file: str | None = setting(
        None,
        "labels from a CSV file or JSON Lines: a column that names the source, the others are labels",
        flag="--labels",
        group=LABELS,
        metavar="FILE",
    )
    key: str | None = setting(
        None,
        "the column of --labels that names the source",
        flag="--labels-key",
        group=LABELS,
        metavar="COLUMN",
        default_text=f"the first of {', '.join(KEYS)}",
    )
    attributes: tuple[str, ...] = setting(
        (),
        "labels computed from the notes",
        flag="--label-attributes",
        group=LABELS,
        metavar="NAMES",
        kind=Kind(_ATTRIBUTES_WANTED, read=_read_attributes),
    )
    digest: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def is_given(self) -> bool:
        return self.regex is not None or self.file is not None or bool(self.attributes)

    def settings(self) -> dict[str, Any]:
        """As in `dataset_info.json`; empty without labels, as in datasets of earlier versions."""
        given = {
            "label_regex": self.regex,
            "label_file": self.digest or None,
            "label_attributes": list(self.attributes) or None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def of(self, source: str) -> dict[str, str]:
        """The labels of a source, without attributes.

        Raises:
          UserError: the file cannot be read here, or has changed since the encode began.
        """
        labels: dict[str, str] = {}
        if self.regex is not None and (match := re.search(self.regex, source)):
            found = {name: labels_lib.clean(value or "") for name, value in match.groupdict().items()}
            labels = {name: value for name, value in found.items() if value}
        if self.file is not None:
            labels |= _load(self.file, self.key, self.digest).rows.get(source, {})
        return labels

    def checked(self, sources: Iterable[str]) -> LabelRule:
        """The rule with the digest of its file, and remarks on its rows.

        Raises:
          UserError: everything that is wrong with the file, and names that more than one of the flags give.
        """
        found = None if self.file is None else label_file.read(self.file, self.key)
        in_regex = () if self.regex is None else re.compile(self.regex).groupindex
        names = [*in_regex, *self.attributes, *(found.names if found else ())]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(
                f"more than one of --labels, --label-regex and --label-attributes gives {', '.join(twice)}, want one"
            )
        if found is None or self.file is None:
            return self
        remarks = tuple(_coverage(self.file, found, sources))
        return dataclasses.replace(self, digest=found.digest, remarks=remarks)


def _coverage(path: str, found: LabelFile, sources: Iterable[str]) -> Iterator[str]:
    """Sentences on rows without a file and files without a row.

    Raises:
      UserError: no row names a file.
    """
    unused = set(found.rows)
    without: list[str] = []
    num_without, example = 0, ""
    for source in sources:
        example = example or source
        if source in found.rows:
            unused.discard(source)
        else:
            num_without += 1
            without += [repr(source)] if len(without) <= 3 else []
    if len(unused) == len(found.rows):
        raise UserError(
            f"{path}: none of its {counted(len(found.rows), 'row')} names a file of --input, such as"
            f" {min(unused)!r}; want paths such as {example!r}"
        )
    if unused:
        named = first_few([repr(source) for source in sorted(unused)])
        yield f"{path}: {counted(len(unused), 'row')} of {len(found.rows):,} name no file of --input: {named}"
    if num_without:
        yield f"{path}: {counted(num_without, 'file')} of --input without a row, such as {', '.join(without[:3])}"


@functools.lru_cache(maxsize=2)
def _load(path: str, key: str | None, digest: str) -> LabelFile:
    found = label_file.read(path, key)
    if digest and found.digest != digest:
        raise UserError(f"{path} has changed since the encode began; start the same command again")
    return found
