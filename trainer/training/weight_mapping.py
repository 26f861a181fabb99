"""The weights of a model with one field table as those of a model with another table on the same grid.

Where a new bin is a part of an old one, or the same, every probability per tick is what it was: the row of the old bin,
and its bias minus the log of how many times smaller the new bin is. Where it covers several, its row is their mean,
weighted by their probability, which is right to first order. `RULES` says which axis of a weight belongs to which
field; a weight without a rule is copied.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from job_runtime.problem_report import UserError
from midi_codec.dataset.dataset_info import COLUMNS, Histogram
from midi_codec.fields import CATEGORICAL, TIME, FieldSpec, FieldTable
from midi_codec.music.notes import DRUM_PROGRAM

FAMILY = 8  # programs of a General MIDI family
ROWS, ROWS_AND_START, LOGITS, BIAS, HEAD_INPUTS, PLAIN = "rows", "rows and start", "logits", "bias", "head inputs", ""
_FIELD = f"({'|'.join(COLUMNS)})"
RULES: tuple[tuple[str, tuple[str, ...]], ...] = (  # full name of a weight, with its field: what each axis is
    (f"embedding_{_FIELD}", (ROWS_AND_START, PLAIN)),
    (f"condition_[a-z]+_{_FIELD}", (ROWS, PLAIN)),
    (f"output_kernel_{_FIELD}", (PLAIN, LOGITS)),
    (f"output_bias_{_FIELD}", (BIAS,)),
    (f"[a-z]+/follows_{_FIELD}", (ROWS_AND_START, LOGITS)),
    ("head_kernel|context/above_kernel|[a-z]+/levels", (PLAIN, HEAD_INPUTS)),
    ("head_bias", (HEAD_INPUTS,)),
)
LABEL = "label_"  # the prefix of a label's table


@dataclasses.dataclass(frozen=True)
class BinMap:
    """How the bins of a field are made of another table's.

    Attributes:
      rows: `[new bins, old bins]` float64, what each new bin's row is a mean of; each row adds up to 1.
      bias: `[new bins]` float64, the biases.
    """

    rows: np.ndarray
    bias: np.ndarray


def map_weights(
    weights: Mapping[str, np.ndarray],
    old: FieldTable,
    new: FieldTable,
    *,
    head_units: int,
    fresh: Mapping[str, np.ndarray],
    histograms: Mapping[str, Histogram] | None = None,
) -> dict[str, np.ndarray]:
    """The weights for the new table.

    Args:
      weights: of the old table's model.
      old, new: the tables; they may differ in values, bins, and in whether there is a field for programs.
      head_units: of the model.
      fresh: initial weights of the new table's model, for a field that the old one does not have.
      histograms: of the new corpus: an old bin's probability is shared among its parts as they occur there (by
        default evenly over its ticks).

    Raises:
      UserError: a weight has another shape than its rule says.
    """
    counts = histograms or {}
    common = [field for field in new if field.name in old.names]
    maps = {field.name: bin_map(old[field.name], field, weights, counts.get(field.name)) for field in common}
    mapped = {name: _mapped(name, array, weights, old, new, maps, head_units) for name, array in fresh.items()}
    if problems := [
        f"{name} has shape {mapped[name].shape}, want {array.shape}"
        for name, array in fresh.items()
        if mapped[name].shape != array.shape
    ]:
        raise UserError(problems)
    _change_program_field(mapped, weights, old, new, counts)
    _change_labels(mapped, weights, old, new)
    return {name: array.astype(np.float32) for name, array in mapped.items()}


def bin_map(old: FieldSpec, new: FieldSpec, weights: Mapping[str, np.ndarray], counts: Histogram | None) -> BinMap:
    """How the new field's bins are made of the old one's; probabilities are those of the old head's biases."""
    bias = np.zeros(old.num_bins)
    if old.loss == CATEGORICAL:
        bias = weights[f"output_bias_{old.name}"][: old.num_bins].astype(np.float64)
    if old.kind == TIME:
        with np.errstate(divide="ignore"):
            joint = np.log(shares(old, new, counts)) + bias
        highest = joint.max(axis=1, keepdims=True)
        total = highest + np.log(np.exp(joint - highest).sum(axis=1, keepdims=True))
        return BinMap(np.exp(joint - total), total[:, 0])
    rows = np.stack([_sources(old, value) for value in new.values]).astype(np.float64)
    rows /= rows.sum(axis=1, keepdims=True)
    return BinMap(rows, rows @ bias)


def shares(old: FieldSpec, new: FieldSpec, counts: Histogram | None) -> np.ndarray:
    """`[new bins, old bins]`, the part of each old time bin's notes that is in each new bin; columns add up to 1.

    The part is one note that is spread evenly over the old bin's ticks, and the notes of the histogram.
    """
    old_edges, new_edges = (np.array(field.edges, np.int64) for field in (old, new))
    old_edges[0], old_edges[-1] = min(old_edges[0], new_edges[0]), max(old_edges[-1], new_edges[-1])
    low = np.maximum(new_edges[:-1, None], old_edges[:-1])
    high = np.maximum(np.minimum(new_edges[1:, None], old_edges[1:]), low)
    mass = (high - low) / np.diff(old_edges)
    if counts is not None:
        before = np.concatenate([[0], np.cumsum(counts.counts)])
        mass += before[np.searchsorted(counts.values, high)] - before[np.searchsorted(counts.values, low)]
    return mass / mass.sum(axis=0)


def _sources(old: FieldSpec, value: int) -> np.ndarray:
    """`[old bins]` bool: the bin of a value, or those that stand in for it.

    An unknown program is a mean of its family, or else of all of its kind: melodic programs or drums. Other values are
    like the nearest.
    """
    known = np.array(old.values)
    if value in known:
        return known == value
    if old.name != "program":
        return np.arange(len(known)) == np.abs(known - value).argmin()
    is_kin = (known == DRUM_PROGRAM) == (value == DRUM_PROGRAM)
    is_family = is_kin & (known // FAMILY == value // FAMILY)
    return next((these for these in (is_family, is_kin) if these.any()), np.ones(len(known), bool))


def _mapped(
    name: str,
    fresh: np.ndarray,
    weights: Mapping[str, np.ndarray],
    old: FieldTable,
    new: FieldTable,
    maps: Mapping[str, BinMap],
    head_units: int,
) -> np.ndarray:
    """One weight, as float64 where it changes."""
    if name not in weights or name.startswith(LABEL):
        return fresh
    array = weights[name]
    match, roles = next(
        ((match, roles) for pattern, roles in RULES if (match := re.fullmatch(pattern, name))), (None, ())
    )
    for axis, role in enumerate(roles):
        moved = np.moveaxis(array, axis, 0)
        if role == HEAD_INPUTS:
            moved = _head_inputs(moved, np.moveaxis(fresh, axis, 0), len(old), len(new), head_units)
        elif role != PLAIN and match is not None:
            moved = _field_axis(moved, role, old[match[1]], new[match[1]], maps[match[1]], name)
        array = np.moveaxis(moved, 0, axis)
    return array


def _field_axis(array: np.ndarray, role: str, old: FieldSpec, new: FieldSpec, bins: BinMap, name: str) -> np.ndarray:
    """The first axis for the bins of a new field."""
    if name.startswith("output_") and old.loss != CATEGORICAL:
        return array  # parameters of a distribution of ticks
    rest = [(0, 0)] * (array.ndim - 1)
    if role == BIAS:
        return np.pad(bins.bias, (0, new.width - new.num_bins))
    flat = array[: old.num_bins].reshape(old.num_bins, -1).astype(np.float64)
    rows = (bins.rows @ flat).reshape(new.num_bins, *array.shape[1:])
    if role == ROWS_AND_START:
        return np.concatenate([rows, array[old.num_bins :]])
    return np.pad(rows, [(0, new.width - new.num_bins), *rest]) if role == LOGITS else rows


def _head_inputs(array: np.ndarray, fresh: np.ndarray, num_old: int, num_new: int, head_units: int) -> np.ndarray:
    """The first axis for the heads of another number of fields, followed by END and what other parts ask for."""
    after_old, after_new = num_old * head_units, num_new * head_units
    result = fresh.copy()
    heads = min(after_old, after_new)
    result[:heads] = array[:heads]
    tail = min(len(array) - after_old, len(fresh) - after_new)
    result[after_new : after_new + tail] = array[after_old : after_old + tail]
    return result


def _change_program_field(
    mapped: dict[str, np.ndarray],
    weights: Mapping[str, np.ndarray],
    old: FieldTable,
    new: FieldTable,
    counts: Mapping[str, Histogram],
) -> None:
    """What a field for programs that comes or goes means for the other weights.

    One that goes was a constant input, which the rows of the step take over. One that comes adds nothing to the input
    at first, and its head starts from the unigram.
    """
    if "program" in old.names and new.only_program is not None:
        rows = weights["embedding_program"].astype(np.float64)
        sources = _sources(old["program"], new.only_program)
        steps = mapped["embedding_step"].astype(np.float64)
        steps[:-1] += rows[:-1][sources].mean(axis=0)
        steps[-1] += rows[-1]
        mapped["embedding_step"] = steps
    elif "program" in new.names and "program" not in old.names:
        mapped["embedding_program"] = np.zeros_like(mapped["embedding_program"])
        bias = np.zeros(len(mapped["output_bias_program"]))
        if "program" in counts:
            seen = dict(zip(counts["program"].values, counts["program"].counts, strict=True))
            amounts = np.array([1 + seen.get(value, 0) for value in new["program"].values])
            bias[: len(amounts)] = np.log(amounts / amounts.sum())
        mapped["output_bias_program"] = bias


def _change_labels(
    mapped: dict[str, np.ndarray], weights: Mapping[str, np.ndarray], old: FieldTable, new: FieldTable
) -> None:
    """The tables of labels: a value that is new begins as if it were unknown, and so does all without an old label."""
    known = {each.name: each for each in old.labels}
    for each in new.labels:
        if each.name in known:
            rows = [0, *map(known[each.name].index, each.values)]
            mapped[LABEL + each.name] = weights[LABEL + each.name][rows]
    for name in known.keys() - {each.name for each in new.labels}:
        mapped["embedding_step"] = mapped["embedding_step"] + weights[LABEL + name][0]
