"""`dataset_info.json`: what a dataset holds. It is written last, so its presence means "complete".

It depends only on the inputs and the settings: the same corpus gives the same bytes on any machine, with any runner, on
any day. What differs between runs is in `run_info.json`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from job_runtime import json_text, storage
from job_runtime.problem_report import UserError
from midi_codec.dataset import labels as labels_lib
from midi_codec.music.notes import COLUMN_RANGES, DRUM_PROGRAM, TIME_BASES

FORMAT_VERSION = 2  # of the folder: this file, the examples, the order of notes, the hash in piece_id
FILE_NAME = "dataset_info.json"
SPLITS = ("train", "validation", "test")
DUPLICATE_KINDS = ("exact", "near")
GROUP_COUNTS = ("groups", "pieces", "largest", "in_several_splits")
NO_DUPLICATES = dict.fromkeys(DUPLICATE_KINDS, 0)
COLUMNS = ("step", "pitch", "duration", "velocity", "program")
_BOX = "box"  # the corpus of the model in the box, for commands that may import the trainer
_BOX_PATH = 'python -c "from trainer import box_model; print(box_model.corpus_folder())"'
_LATER = ("moved_groups", "labels")  # fields that earlier versions did not have
PACKED_FROM = "packed_from"  # a setting: the hash of the dataset that these pieces are from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Histogram:
    """Exact sparse counts: `counts[i]` notes have the value `values[i]`; values ascend, counts are above 0."""

    values: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if any(low >= high for low, high in itertools.pairwise(self.values)) or min(self.counts, default=1) < 1:
            raise ValueError("a histogram has values that do not ascend or counts below 1, want neither")
        if len(self.values) != len(self.counts):
            raise ValueError(f"a histogram has {len(self.values)} values and {len(self.counts)} counts, want as many")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """One split: its sizes, and the number of pieces per shard (empty if it has no shards)."""

    num_pieces: int = 0
    num_notes: int = 0
    seconds: float = 0.0
    shard_lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if min(self.num_pieces, self.num_notes, self.seconds, *self.shard_lengths) < 0:
            raise ValueError("a split has a size below 0, want sizes from 0")
        if sum(self.shard_lengths) != self.num_pieces:
            raise ValueError(f"shard lengths add up to {sum(self.shard_lengths)}, num_pieces is {self.num_pieces}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """A complete dataset.

    inputs = examples + sum(rejects) + sum(duplicates)

    rejects, duplicates   counts by reason, and by kind
    salvaged              examples and duplicates whose files strict reading refuses, by level of salvage
    groups                of the kept groups of at least two pieces: their number, their pieces, the largest, and how
                          many are in more than one split (possible only with `--split-regex`)
    moved_groups          groups moved to a split that chance had left empty, with that split
    programs              those of the kept pieces, ascending, 128 for drums
    histograms            by split and column, over every note of the split
    settings              what determined the content besides the inputs: the split rule, limits and the like
    labels                pieces by name of a label, split and value (`labels.Counts`)
    """

    format_version: int = FORMAT_VERSION
    time_base: str
    programs: tuple[int, ...]
    splits: Mapping[str, SplitInfo]
    inputs: int
    other_files: int
    examples: int
    rejects: Mapping[str, int]
    duplicates: Mapping[str, int]
    salvaged: Mapping[str, int]
    groups: Mapping[str, int]
    histograms: Mapping[str, Mapping[str, Histogram]]
    settings: Mapping[str, Any]
    moved_groups: Mapping[str, str] = dataclasses.field(default_factory=dict)  # group_id -> split
    labels: labels_lib.Counts = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ValueError(f"format_version is {self.format_version}, this program reads {FORMAT_VERSION}")
        if self.time_base not in TIME_BASES:
            raise ValueError(f"time_base is {self.time_base!r}, want one of {', '.join(TIME_BASES)}")
        wanted = {"splits": SPLITS, "histograms": SPLITS, "duplicates": DUPLICATE_KINDS, "groups": GROUP_COUNTS}
        for name, keys in wanted.items():
            counts = getattr(self, name)
            if set(counts) != set(keys):
                raise ValueError(f"{name} has {sorted(counts)}, want {', '.join(keys)}")
        for split, columns in self.histograms.items():
            _check_histograms(split, columns, self.splits[split].num_notes)
        for name, by_split in self.labels.items():
            counts = [count for values in by_split.values() for count in values.values()]
            if not set(by_split) <= set(SPLITS) or min(counts, default=1) < 1:
                raise ValueError(f"labels.{name} is {by_split}, want counts from 1 by split and value")
        is_empty = not any(split.num_notes for split in self.splits.values())
        if list(self.programs) != sorted(set(self.programs) & set(range(DRUM_PROGRAM + 1))) or not (
            self.programs or is_empty
        ):
            raise ValueError(f"programs is {list(self.programs)}, want those of the notes, ascending")
        if min(self.inputs, self.other_files, *self.rejects.values(), *self.duplicates.values()) < 0:
            raise ValueError("inputs, other_files, rejects or duplicates has a count below 0, want counts from 0")
        in_splits = sum(split.num_pieces for split in self.splits.values())
        if in_splits != self.examples:
            raise ValueError(f"the splits hold {in_splits} pieces, examples is {self.examples}")
        accounted = self.examples + sum(self.rejects.values()) + sum(self.duplicates.values())
        if accounted != self.inputs:
            raise ValueError(f"inputs is {self.inputs}, examples + rejects + duplicates is {accounted}")

    @classmethod
    def of_examples(cls, *, splits: Mapping[str, SplitInfo], **more: Any) -> DatasetInfo:
        """A dataset of which every input is an example; `more`: the other fields that are not empty."""
        total = sum(split.num_pieces for split in splits.values())
        empty: dict[str, Any] = {"other_files": 0, "rejects": {}, "duplicates": NO_DUPLICATES, "salvaged": {}}
        empty |= {"groups": dict.fromkeys(GROUP_COUNTS, 0), "settings": {}}
        return cls(splits=splits, inputs=total, examples=total, **{**empty, **more})

    def to_json(self) -> str:
        """The text of the file: keys sorted, one line per key, each list on one line."""
        return _pretty(self._fields()) + "\n"

    def _fields(self) -> dict[str, Any]:
        """All fields; without those that are empty and that datasets of earlier versions did not have."""
        fields = _to_fields(self)
        return {name: value for name, value in fields.items() if name not in _LATER or value}

    @classmethod
    def from_json(cls, text: str) -> DatasetInfo:
        """The inverse of `to_json`.

        Raises:
          ValueError: not JSON, an extra or missing key, another version, or inconsistent numbers.
        """
        json_text.parse(text, _Versioned)
        fields = json_text.parse(text, cls)
        fields = {name: {} for name in _LATER} | fields
        fields["splits"] = {name: _from_fields(SplitInfo, split) for name, split in fields["splits"].items()}
        fields["histograms"] = {
            split: {column: _from_fields(Histogram, histogram) for column, histogram in columns.items()}
            for split, columns in fields["histograms"].items()
        }
        return _from_fields(cls, fields)

    @functools.cached_property
    def hash(self) -> str:
        """32 hex digits that identify this dataset; equal for equal content."""
        text = json.dumps(self._fields(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def corpus_hash(self) -> str:
        """The hash of the dataset that this one was packed from (`demo.box_model`), otherwise its own."""
        return self.settings.get(PACKED_FROM, self.hash)


def _check_histograms(split: str, columns: Mapping[str, Histogram], num_notes: int) -> None:
    for column in COLUMNS:
        if column not in columns:
            raise ValueError(f"histograms.{split} lacks {column}, want every column of the notes")
        histogram, (low, high) = columns[column], COLUMN_RANGES[column if column != "step" else "start"]
        if histogram.counts and sum(histogram.counts) != num_notes:
            counted = f"histograms.{split}.{column} counts {sum(histogram.counts)} notes"
            raise ValueError(f"{counted}, splits.{split}.num_notes is {num_notes}")
        if histogram.values and not low <= histogram.values[0] <= histogram.values[-1] <= high:
            raise ValueError(f"histograms.{split}.{column} has values beyond {low} to {high}")


class _Versioned(TypedDict):
    format_version: Annotated[int, json_text.Constraint(lambda value: value == FORMAT_VERSION, f"{FORMAT_VERSION}")]


def _to_fields(value: Any) -> Any:
    """Like `dataclasses.asdict`, but without copying every number of a histogram."""
    if dataclasses.is_dataclass(value):
        return {field.name: _to_fields(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _to_fields(item) for key, item in value.items()}
    return value


def _from_fields(cls: type, fields: Mapping[str, Any]) -> Any:
    """A dataclass from JSON; an unknown or missing key is an error, on purpose."""
    names = {field.name for field in dataclasses.fields(cls)}
    if set(fields) != names:
        extra, missing = sorted(set(fields) - names), sorted(names - set(fields))
        raise ValueError(f"{cls.__name__} has unknown keys {extra} and lacks {missing}")
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def _pretty(value: Any, indent: str = "") -> str:
    if not isinstance(value, Mapping) or not value:
        return json.dumps(value)
    inner = indent + "  "
    lines = [f"{inner}{json.dumps(key)}: {_pretty(value[key], inner)}" for key in sorted(value)]
    return "{\n" + ",\n".join(lines) + "\n" + indent + "}"


def shard_name(split: str, index: int, num: int) -> str:
    """For example `train-00000-of-00016.tfrecord`."""
    return f"{split}-{index:05d}-of-{num:05d}.tfrecord"


def shard_paths(root: str, info: DatasetInfo, split: str) -> list[str]:
    """The paths of the shards of one split, in order."""
    num = len(info.splits[split].shard_lengths)
    return [storage.join(root, shard_name(split, index, num)) for index in range(num)]


def load(root: str) -> DatasetInfo:
    """Reads the dataset at `root`.

    Raises:
      UserError: there is no complete dataset, or this program cannot read it.
    """
    path = storage.join(root, FILE_NAME)
    try:
        return DatasetInfo.from_json(storage.read_text(path))
    except FileNotFoundError as error:
        hint = f"; this command takes the corpus in the box by its path, which is printed by {_BOX_PATH}"
        raise UserError(f"{root} is not a complete dataset: no {FILE_NAME}{hint if root == _BOX else ''}") from error
    except json_text.JsonError as error:
        raise UserError(f"{path}: {problem}" for problem in error.problems) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def save(root: str, info: DatasetInfo, *, only_if_absent: bool = False) -> bool:
    """Writes `dataset_info.json`, after everything else of the dataset is written; returns whether it wrote it."""
    path = storage.join(root, FILE_NAME)
    return storage.write_bytes(path, info.to_json().encode(), only_if_absent=only_if_absent)
