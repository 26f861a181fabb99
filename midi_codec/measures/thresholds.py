"""Thresholds from a corpus for the faults that listeners complain about, and how pieces are judged by them.

Each check of `screen_checks` has a threshold: the 99.9 % quantile of its values in windows of 256 notes of the training
split (the 0.1 % quantile where too low is a fault; of whole pieces for length and number of notes), estimated where
there are fewer than a thousand values. Densities far beyond all others are faults of the corpus and do not count.
docs/evaluate_music.md says more.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Protocol, TypedDict

import numpy as np

from job_runtime import json_text
from job_runtime.problem_report import UserError
from midi_codec.measures import screen_checks
from midi_codec.music.notes import BEATS, MILLISECONDS, TIME_BASES, Notes

FORMAT_VERSION = 2
QUANTILE = 0.999  # 1 - QUANTILE where too low is a fault
TAIL_SHARE = 0.1  # of the values, from which the quantile is estimated where it lies beyond all of them
SHORT_SILENCE = {BEATS: 4.0, MILLISECONDS: 2.0}  # a rest of a bar is no fault, even if the corpus has none
FEW_OVERLAPS = 0.02  # nor are five notes in a window
FEW_REPEATS = 8  # nor is a note repeated as often, or a loop of as many notes,
FEW_ROUNDS = 3  # or one that sounds as often: a small corpus may have none
MORE_VOICES = 2  # nor are more voices than the corpus ever has: music of four may have a fifth for a moment
FAR_OUT = 3  # times the distance of the quartiles, beyond them: Tukey's outer fence (Exploratory Data Analysis, 1977)
COPIED_NOTES = "copied_notes"  # the longest run of notes shared with the training split
NO_NOTES = "no_notes"  # the reason for a piece without generated notes


class Run(Protocol):
    """A run of notes that a piece shares with a corpus."""

    @property
    def num_notes(self) -> int: ...


class Index(Protocol):
    """A corpus in which copied notes are found: `generation_jobs.memorisation.corpus_index.Index`."""

    @property
    def dataset(self) -> str: ...

    @property
    def time_base(self) -> str: ...

    def longest_run(self, notes: Notes, num_primer_notes: int = 0) -> Run: ...


class Piece(Protocol):
    """A generated piece: its notes, how many of them were given, and whether the model ended it."""

    @property
    def notes(self) -> Notes: ...

    @property
    def num_primer_notes(self) -> int: ...

    @property
    def ended(self) -> object: ...


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The measurements of a piece, and the checks that it failed; no reasons: accepted."""

    checks: dict[str, float | int]
    reasons: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Screen:
    """A threshold per check; a value beyond it is a reason to reject. A value equal to the threshold passes."""

    thresholds: Mapping[str, float]
    time_base: str
    dataset: str  # hash
    index: Index | None = dataclasses.field(default=None, compare=False, repr=False)  # None: copied notes do not count

    def judge(self, piece: Piece) -> Judgement:
        return self.judge_notes(piece.notes, piece.num_primer_notes, ended=piece.ended is True)

    def judge_notes(self, notes: Notes, num_given: int, *, ended: bool) -> Judgement:
        """Like `judge`, for notes that start at tick 0.

        Raises:
          ValueError: the notes are on another grid than the thresholds.
        """
        if notes.time_base != self.time_base:
            raise ValueError(f"the notes are on the grid of {notes.time_base}, the thresholds of {self.time_base}")
        values = screen_checks.check_piece(notes, num_given, ended=ended)
        if self.index is not None:
            values[COPIED_NOTES] = float(self.index.longest_run(notes, num_given).num_notes)
        reasons = [name for name in self.thresholds if name in values and self._is_beyond(name, values[name])]
        if len(notes) <= num_given:
            reasons.append(NO_NOTES)
        return Judgement(dict(values), tuple(reasons))

    def _is_beyond(self, name: str, value: float) -> bool:
        limit = self.thresholds[name]
        return value < limit if name in screen_checks.LOW else value > limit

    def to_json(self, **more: Any) -> str:
        fields = {"thresholds": dict(self.thresholds), "time_base": self.time_base, "dataset": self.dataset}
        return json.dumps({"format_version": FORMAT_VERSION, "quantile": QUANTILE, **fields, **more}, indent=1) + "\n"


def load(path: str, index: Index | None = None) -> Screen:
    """Reads what `python -m generation_jobs.screening` wrote; with an index, copied notes count too.

    Raises:
      UserError: the file is missing, is not a thresholds file, or is not of the index's dataset; every mistake at once.
    """
    try:
        fields = json_text.load(path, dict[str, Any])
    except FileNotFoundError as error:
        raise UserError(f"{path!r} does not exist, want a thresholds file") from error
    problems = list(_problems(fields))
    if index is not None and not problems:
        if fields["dataset"] != index.dataset:
            problems.append(f"dataset is {fields['dataset']}, that of the index is {index.dataset}, want the same")
        if COPIED_NOTES not in fields["thresholds"]:
            problems.append(f"thresholds has no {COPIED_NOTES}, want one to use an index: write the file again")
    if problems:
        raise UserError(f"{path!r}: {problem}" for problem in problems)
    return Screen(fields["thresholds"], fields["time_base"], fields["dataset"], index)


class _Thresholds(TypedDict):
    format_version: Annotated[int, json_text.Constraint(lambda value: value == FORMAT_VERSION, f"{FORMAT_VERSION}")]
    time_base: Annotated[
        str, json_text.Constraint(lambda value: value in TIME_BASES, f"one of {', '.join(TIME_BASES)}")
    ]
    dataset: str
    thresholds: Mapping[str, float]


def _problems(fields: Mapping[str, Any]) -> Iterator[str]:
    yield from json_text.problems(fields, _Thresholds)
    thresholds = fields.get("thresholds")
    for name in thresholds if isinstance(thresholds, dict) else ():
        if name not in (*screen_checks.NAMES, COPIED_NOTES):
            yield f"thresholds has {name!r}, want some of {', '.join((*screen_checks.NAMES, COPIED_NOTES))}"


def fit(pieces: Iterable[Notes], *, time_base: str, dataset: str) -> Screen:
    """Thresholds from a corpus; checks that have no value in it get none."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in screen_checks.NAMES}
    for notes in pieces:
        whole = screen_checks.check_piece(notes, 0, ended=True)
        for name, values in screen_checks.check_windows(notes, 0).items():
            found[name].append(values)
        for name in ("length", "ended_notes"):
            if name in whole:
                found[name].append(np.array([whole[name]]))
    thresholds = {}
    for name, parts in found.items():
        values = np.concatenate(parts) if parts else np.zeros(0)
        values = values[~np.isnan(values)]
        if name in screen_checks.RATES:
            values = _without_faults(values)
        if values.size:
            thresholds[name] = _limit(values, name)
    harmless = {
        "longest_silence": SHORT_SILENCE[time_base],
        "overlap_share": FEW_OVERLAPS,
        "longest_repeat": FEW_REPEATS,
        **{name: max(FEW_REPEATS, FEW_ROUNDS * period) for name, period in screen_checks.LOOPS.items()},
    }
    thresholds |= {name: max(thresholds[name], least) for name, least in harmless.items() if name in thresholds}
    if "max_polyphony" in thresholds:
        thresholds["max_polyphony"] += MORE_VOICES
    return Screen(thresholds, time_base, dataset)


def _without_faults(values: np.ndarray) -> np.ndarray:
    """Rates without extreme outliers, by factors; all rates if most are equal.

    One file with a thousand notes at one moment has enough windows to be the extreme of several thousand windows.
    """
    if not values.size:
        return values
    logs = np.log(values)
    low, high = np.quantile(logs, (0.25, 0.75))
    reach = FAR_OUT * (high - low)
    return values[(logs >= low - reach) & (logs <= high + reach)] if reach else values


def _limit(values: np.ndarray, name: str) -> float:
    """The quantile of a check's values.

    The largest of a few hundred values is exceeded far more often than one time in a thousand, and there are many
    checks. So with fewer values than the quantile needs, it is estimated: beyond the largest tenth, values are taken to
    fall off exponentially (by factors, where too low is a fault and for rates); the median of the excesses over that
    tenth gives the rate, so that one outlier changes nothing. What may be copied is not estimated: it must be observed.
    """
    is_low = name in screen_checks.LOW
    # an observed value, the outer of two: a threshold between two values of a count has no meaning
    level, method = (1 - QUANTILE, "lower") if is_low else (QUANTILE, "higher")
    limit = float(np.quantile(values, level, method=method))  # type: ignore[call-overload]
    beyond = math.log(1 / (len(values) * (1 - QUANTILE)))  # in mean excesses, from the extreme value
    if beyond > 0 and name != COPIED_NOTES:
        in_factors = is_low or name in screen_checks.RATES
        ordered = np.sort(np.log(np.maximum(values, 1e-9)) if in_factors else values)[:: 1 if is_low else -1]
        top = ordered[: math.ceil(len(ordered) * TAIL_SHARE) + 1]
        reach = beyond * float(np.median(np.abs(top[:-1] - top[-1]))) / math.log(2) if len(top) > 1 else 0.0
        limit = limit * math.exp(-reach if is_low else reach) if in_factors else limit + reach
    scale = 10**screen_checks.DECIMALS  # rounded outwards, so that the value itself passes
    return (math.floor if is_low else math.ceil)(limit * scale) / scale


def limit_copies(screen: Screen, index: Index, held_out: Iterable[Notes]) -> Screen:
    """The screen with the index, and with a threshold for copied notes from what held-out pieces share with it."""
    lengths = np.array([index.longest_run(notes).num_notes for notes in held_out], np.float64)
    more = {COPIED_NOTES: _limit(lengths, COPIED_NOTES)} if lengths.size else {}
    return dataclasses.replace(screen, thresholds={**screen.thresholds, **more}, index=index)


def reject_shares(judged: Mapping[tuple[str, ...], int]) -> dict[str, float]:
    """The share of pieces with any reason, as `any`, and then per reason, the most common first.

    Args:
      judged: how many pieces have exactly these reasons.
    """
    total = sum(judged.values())
    if not total:
        return {}
    counts: collections.Counter[str] = collections.Counter()
    for reasons, number in judged.items():
        counts.update(dict.fromkeys(reasons, number))
    ranked = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return {name: round(number / total, 6) for name, number in ({"any": total - judged.get((), 0)} | ranked).items()}
