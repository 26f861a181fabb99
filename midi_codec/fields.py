"""The note fields: what a model predicts of one note, in this order, and the bins of each.

    step       ticks since the previous onset     time bins
    pitch      0..127, then END                   one bin per value
    duration   ticks                              time bins
    velocity   1..127                             one bin per value
    program    those of the corpus                one bin per value; only if there is more than one

Encoder, model, sampler and evaluation use this table. END (the end of the piece) is value 128 of `pitch`. It has no bin
here: its probability does not depend on the step drawn before it (`trainer.model.note_model`), so its other fields need
no score.

A time bin spreads its probability evenly over its ticks, which makes likelihoods comparable between binnings. Bins
come from a histogram of the training split: music on a beat grid gets one bin per value, and rubato gets narrower bins
where there are more notes. The order of fields and the meaning of edges are part of the bundle format.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from job_runtime import json_text
from midi_codec.dataset import labels as labels_lib
from midi_codec.dataset.dataset_info import COLUMNS, DatasetInfo
from midi_codec.dataset.labels import Vocabulary
from midi_codec.music import notes as notes_lib
from midi_codec.music.note_batch import NoteBatch

CATEGORY = "category"
TIME = "time"
CATEGORICAL = "categorical"
MSE = "mse"
MIXTURE = "mixture"
TIMING_LOSSES = (CATEGORICAL, MSE, MIXTURE)
WIDTH_MULTIPLE = 16  # rows of a batch compute identically only if they fill whole vector registers
MAX_TIME_BINS = 128
MAX_TICK = 2**31 - 1  # the range of a time field: what an int32 column holds
FEW_TICKS = 1 << 16
WIDE_BIN = (
    1.5  # a bin with a note begins at this share of its end or later, so that what is drawn in it is like the note
)
TOO_WIDE = 1.0  # nats; more than any bin of rare notes costs by its ticks
NARROW_TICKS = 8  # a bin with fewer ticks may be wider than that
NATS_WORTH_MORE_BINS = 0.02  # per note; for a smaller gain the smaller table is chosen


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """One row of the table.

    Attributes:
      name: the column.
      kind: `category` (one bin per value) or `time` (bins of neighbouring ticks).
      values: of a category field, the value of each bin.
      edges: of a time field, `num_bins + 1` ascending ticks; bin b holds edges[b] <= tick < edges[b + 1].
      largest: of a time field, the largest tick in the training split; samplers draw nothing larger.
      loss: `categorical`; of a time field also `mse` or `mixture` (of logistics), which are continuous.
      scale: of a time field, ticks per unit of an MSE head's output.
      shift: of a time field, the s in a mixture head's axis log(1 + tick / s), which is about linear below s ticks and
        logarithmic above.
    """

    name: str
    kind: str
    values: tuple[int, ...] = ()
    edges: tuple[int, ...] = ()
    largest: int = 0
    loss: str = CATEGORICAL
    scale: float = 1.0
    shift: float = 1.0

    @property
    def num_bins(self) -> int:
        return len(self.values) if self.kind == CATEGORY else len(self.edges) - 1

    @property
    def width(self) -> int:
        """The number of logits of a head: `num_bins` rounded up to whole vector registers."""
        return -(-self.num_bins // WIDTH_MULTIPLE) * WIDTH_MULTIPLE

    @functools.cached_property
    def lows(self) -> np.ndarray:
        """`[num_bins]` int64, the smallest value of each bin."""
        return np.array(self.values if self.kind == CATEGORY else self.edges[:-1], np.int64)

    @functools.cached_property
    def spans(self) -> np.ndarray:
        """`[num_bins]` int64, the number of values in each bin."""
        if self.kind == CATEGORY:
            return np.ones(self.num_bins, np.int64)
        return np.diff(np.array(self.edges, np.int64))

    @functools.cached_property
    def log_spans(self) -> np.ndarray:
        """`[num_bins]` float32, nats for the position within a bin."""
        return np.log(self.spans).astype(np.float32)

    @functools.cached_property
    def _bin_of_value(self) -> np.ndarray:
        table = np.full(max(self.values) + 1, -1, np.int32)
        table[list(self.values)] = np.arange(self.num_bins)
        return table

    @functools.cached_property
    def _bin_of_tick(self) -> np.ndarray:
        ticks = np.arange(FEW_TICKS)
        return (np.searchsorted(np.array(self.edges, np.int64), ticks, side="right") - 1).astype(np.int32)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Values to bins, int32 of the same shape; the field must have a bin for every value."""
        if self.kind == CATEGORY:
            return self._bin_of_value[values]
        if values.size > 1000 and values.min() >= 0 and values.max() < FEW_TICKS:
            return self._bin_of_tick[values]  # a table is faster than a search
        return (np.searchsorted(np.array(self.edges, np.int64), values, side="right") - 1).astype(np.int32)

    def unknown(self, values: np.ndarray) -> np.ndarray:
        """The distinct values that the field has no bin for."""
        distinct = np.unique(values)
        if self.kind == CATEGORY:
            return distinct[~np.isin(distinct, self.values)]
        return distinct[(distinct < self.edges[0]) | (distinct >= self.edges[-1])]


@dataclasses.dataclass(frozen=True)
class FieldTable:
    """The fields of a corpus in the order in which a note's fields are predicted."""

    fields: tuple[FieldSpec, ...]
    time_base: str
    only_program: int | None = None  # of every note, if the corpus has only one and therefore no field for it
    labels: tuple[Vocabulary, ...] = ()  # that the model is conditioned on

    def __iter__(self) -> Iterator[FieldSpec]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, name: str) -> FieldSpec:
        return next(field for field in self.fields if field.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @property
    def start_bins(self) -> np.ndarray:
        """`[num_fields]` int32, the input before a piece's first note: for each field the number after its last bin."""
        return np.array([field.num_bins for field in self.fields], np.int32)

    def raw(self, notes: notes_lib.Notes) -> np.ndarray:
        """`[n, num_fields]` int32, the values of the notes in the order of the table."""
        return np.stack([getattr(notes, name).astype(np.int32) for name in self.names], axis=1)

    def encode(self, raw: np.ndarray) -> np.ndarray:
        """`[..., num_fields]` values to bins, int32."""
        return np.stack([field.encode(raw[..., index]) for index, field in enumerate(self.fields)], axis=-1)

    def to_notes(self, raw: np.ndarray, *, tempo: float) -> notes_lib.Notes:
        """`[n, num_fields]` values of successive notes as a piece that starts at tick 0; the inverse of `raw`.

        Args:
          raw: as returned by `raw`; the first step counts as 0.
          tempo: quarter notes per minute.
        """
        columns = {name: raw[:, index] for index, name in enumerate(self.names)}
        step = columns.pop("step").astype(np.int64)
        step[:1] = 0
        if "program" not in columns:
            columns["program"] = np.full(len(raw), self.only_program)
        return notes_lib.Notes.from_columns(start=np.cumsum(step), tempo=tempo, time_base=self.time_base, **columns)

    def problems(self, notes: notes_lib.Notes | NoteBatch) -> list[str]:
        """Why a model with this table cannot use these notes, of one piece or of many; empty if it can."""
        problems = []
        if notes.time_base != self.time_base:
            problems.append(f"the notes are on a grid of {notes.time_base}, want {self.time_base}")
        for field in self.fields:
            unknown = field.unknown(getattr(notes, field.name))
            if unknown.size:
                problems.append(f"{field.name} {', '.join(map(str, unknown[:5]))} does not occur in the model's corpus")
        only = self.only_program
        if only is not None and (notes.program != only).any():
            others = np.unique(notes.program[notes.program != only])
            problems.append(f"program {', '.join(map(str, others[:5]))} given, but the model knows only {only}")
        return problems

    def to_json(self) -> dict[str, Any]:
        """As in a bundle; without labels as earlier versions wrote it."""
        labels = {"labels": [dataclasses.asdict(each) for each in self.labels]} if self.labels else {}
        return {
            "time_base": self.time_base,
            "only_program": self.only_program,
            "fields": [dataclasses.asdict(field) for field in self.fields],
            **labels,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FieldTable:
        """The inverse of `to_json`.

        Raises:
          JsonError: lists all extra and missing keys and impossible values.
        """
        if problems := list(json_text.problems(value, cls)):
            raise json_text.JsonError(problems)
        fields = []
        for entry in value["fields"]:
            tuples = {name: tuple(entry[name]) for name in ("values", "edges")}
            fields.append(FieldSpec(**{**entry, **tuples}))
        labels = tuple(Vocabulary(name=each["name"], values=tuple(each["values"])) for each in value.get("labels", ()))
        table = cls(tuple(fields), value["time_base"], value["only_program"], labels)
        if problems := list(_problems(table)):
            raise json_text.JsonError(problems)
        return table


def _problems(table: FieldTable) -> Iterator[str]:
    """The impossible values of each field."""
    if table.names not in (COLUMNS, COLUMNS[:-1]):
        yield f"fields are {', '.join(table.names)}, want {', '.join(COLUMNS)}, or these without the last"
        return
    if table.time_base not in notes_lib.TIME_BASES:
        yield f"time_base is {table.time_base!r}, want one of {', '.join(notes_lib.TIME_BASES)}"
    if ("program" in table.names) != (table.only_program is None):
        yield "want either a field 'program' or only_program"
    if table.only_program is not None and not 0 <= table.only_program <= notes_lib.DRUM_PROGRAM:
        yield f"only_program is {table.only_program}, want 0 to {notes_lib.DRUM_PROGRAM}"
    for field in table:
        is_time = field.name in ("step", "duration")
        kind, losses = (TIME, TIMING_LOSSES) if is_time else (CATEGORY, (CATEGORICAL,))
        if field.kind != kind:
            yield f"fields.{field.name}.kind is {field.kind!r}, want {kind!r}"
        if field.loss not in losses:
            yield f"fields.{field.name}.loss is {field.loss!r}, want {' or '.join(losses)}"
        bounds, low, high = ("edges", 0, MAX_TICK + 1) if is_time else ("values", *notes_lib.COLUMN_RANGES[field.name])
        numbers = getattr(field, bounds)
        is_rising = all(before < after for before, after in itertools.pairwise(numbers))
        if len(numbers) < 1 + is_time or not is_rising or numbers[0] < low or numbers[-1] > high:
            yield f"fields.{field.name}.{bounds} is {json_text.shown(numbers)}, want {low} to {high}, ascending"
        elif is_time and not 0 <= field.largest < field.edges[-1]:
            yield f"fields.{field.name}.largest is {field.largest}, want 0 to {field.edges[-1] - 1}"
        for name in ("scale", "shift"):
            if not getattr(field, name) > 0:
                yield f"fields.{field.name}.{name} is {getattr(field, name)}, want a number above 0"
    if len({each.name for each in table.labels}) != len(table.labels):
        yield "labels has a name twice, want each once"
    for each in table.labels:
        if problem := labels_lib.name_problem(each.name):
            yield f"labels: {problem}"
        if not each.values or any(low >= high for low, high in itertools.pairwise(each.values)):
            yield f"labels.{each.name}.values is {json_text.shown(each.values)}, want at least one, ascending"


def build_field_table(
    histograms: Mapping[str, tuple[Sequence[int], Sequence[int]]],
    *,
    programs: tuple[int, ...],
    time_base: str,
    timing_loss: str = CATEGORICAL,
) -> FieldTable:
    """Builds the table of a corpus.

    Args:
      histograms: for `step` and `duration`, those of the training split: distinct ticks, ascending, and their counts.
      programs: those of the whole corpus, ascending.
      time_base: the grid of the corpus.
      timing_loss: the loss of both time fields.
    """

    def time_field(name: str) -> FieldSpec:
        values, counts = (np.asarray(column, np.int64) for column in histograms[name])
        return FieldSpec(
            name=name,
            kind=TIME,
            edges=tuple(choose_time_edges(values, counts).tolist()),
            largest=int(values[-1]),
            loss=timing_loss,
            scale=_spread(values, counts),
        )

    fields = [
        time_field("step"),
        FieldSpec(name="pitch", kind=CATEGORY, values=tuple(range(128))),
        time_field("duration"),
        FieldSpec(name="velocity", kind=CATEGORY, values=tuple(range(1, 128))),
    ]
    if len(programs) > 1:
        fields.append(FieldSpec(name="program", kind=CATEGORY, values=programs))
        return FieldTable(tuple(fields), time_base)
    return FieldTable(tuple(fields), time_base, programs[0])


def dataset_table(info: DatasetInfo, *, timing_loss: str = CATEGORICAL, labels: Sequence[str] = ()) -> FieldTable:
    """The table of a dataset, with bins made for its training split.

    Args:
      labels: names of labels that a model is conditioned on, each with values in the training split.
    """
    train = info.histograms["train"]
    table = build_field_table(
        {name: (train[name].values, train[name].counts) for name in ("step", "duration")},
        programs=info.programs,
        time_base=info.time_base,
        timing_loss=timing_loss,
    )
    known = tuple(Vocabulary(name=name, values=tuple(sorted(info.labels[name]["train"]))) for name in labels)
    return dataclasses.replace(table, labels=known)


def _spread(values: np.ndarray, counts: np.ndarray) -> float:
    """Standard deviation of a histogram, in ticks; at least one tick."""
    shares = counts / counts.sum()
    mean = (shares * values).sum()
    return max(1.0, float(np.sqrt((shares * (values - mean) ** 2).sum())))


def choose_time_edges(values: np.ndarray, counts: np.ndarray, *, max_bins: int = MAX_TIME_BINS) -> np.ndarray:
    """Edges of the time bins that lose the least information about time.

    A perfect prediction of the bin still leaves log(ticks in the bin) nats open. The edges minimise the mean of that
    over the training notes, exactly over a set of candidates, by dynamic programming. This gives bins of about equal
    mass where time is smooth, and bins of one tick where it is a grid. A thousandth of the mass is spread over log time
    up to `MAX_TICK`, so that unseen lengths get bins too.

    Args:
      values: `[n]` ascending distinct ticks of the training split.
      counts: `[n]` their numbers of occurrences.
      max_bins: the maximum number of bins.

    Returns:
      `[num_bins + 1]` int64, from 0 to `MAX_TICK + 1`; `values[-1] + 1` is always one of them.

    Raises:
      ValueError: the histogram is empty, or a tick is outside 0..MAX_TICK.
    """
    values, counts = np.asarray(values, np.int64), np.asarray(counts, np.float64)
    if not len(values) or counts.sum() <= 0:
        raise ValueError("the histogram is empty, want at least one tick with a count")
    if values[0] < 0 or values[-1] > MAX_TICK:
        raise ValueError(f"ticks run from {values[0]} to {values[-1]}, want 0 to {MAX_TICK}")
    edges = _candidate_edges(values, counts)
    mass = _mass_before(edges, values, counts)
    boundary = int(np.searchsorted(edges, values[-1] + 1))
    bin_costs = (mass[None, :] - mass[:, None]) * np.log(np.maximum(edges[None, :] - edges[:, None], 1))
    index = np.arange(len(edges))
    crosses = (index[:, None] < boundary) & (index[None, :] > boundary)
    bin_costs[crosses | (index[None, :] <= index[:, None])] = np.inf
    seen = np.searchsorted(values, edges, side="left")  # values below each edge
    is_wide = (edges[None, :] > WIDE_BIN * edges[:, None]) & (edges[None, :] > edges[:, None] + NARROW_TICKS)
    bin_costs[is_wide & (seen[None, :] > seen[:, None])] += TOO_WIDE
    costs = [np.where(index == 0, 0.0, np.inf)]  # costs[k][e]: lowest cost of k bins up to edge e
    origins = []
    for _ in range(max_bins):
        totals = costs[-1][:, None] + bin_costs
        origins.append(totals.argmin(axis=0))
        costs.append(totals.min(axis=0))
    reached = np.array([cost[-1] for cost in costs])
    sizes = [size for size in range(WIDTH_MULTIPLE, max_bins + 1, WIDTH_MULTIPLE) if np.isfinite(reached[size])]
    if not sizes:  # fewer candidates than bins in the smallest table: all become edges
        return edges
    enough = next(size for size in sizes if reached[size] <= reached[sizes[-1]] + NATS_WORTH_MORE_BINS)
    chosen = [len(edges) - 1]
    for size in range(enough, 0, -1):
        chosen.append(int(origins[size - 1][chosen[-1]]))
    return edges[chosen[::-1]]


def _candidate_edges(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ascending ticks where a bin may begin: around the most common values, at quantiles, and in even log steps."""
    common = values[np.sort(np.argsort(-counts, kind="stable")[:192])]
    shares = np.cumsum(counts) / counts.sum()
    quantiles = values[
        np.searchsorted(shares, np.linspace(0, 1, 192, endpoint=False), side="right").clip(max=len(values) - 1)
    ]
    log_steps = np.floor(np.exp(np.linspace(0, np.log(MAX_TICK), 128))).astype(np.int64)
    ends = [0, values[-1] + 1, MAX_TICK + 1]
    return np.unique(np.concatenate([common, common + 1, quantiles, log_steps, ends]))


def _mass_before(edges: np.ndarray, values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Share of the mass at ticks below each edge, with a thousandth spread evenly over log time."""
    cumulative = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    seen = cumulative[np.searchsorted(values, edges, side="left")]
    return 0.999 * seen + 0.001 * np.log1p(edges) / np.log1p(MAX_TICK + 1)
