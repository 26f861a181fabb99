"""Drops from a batch what breaks the rules of cleaning, and explains each drop.

Policies that remove or change notes come first (other programs, drums, merged programs), then the rules that measure
what is left. A piece that breaks several rules is dropped for the first in the order below; its message names all:

    has_drums, other_programs, no_notes_left, too_few_notes, too_short, pitch_out_of_range, too_sparse, too_dense,
    long_silence, too_polyphonic

Everything except the sentence about a dropped piece is computed for all pieces of a batch at once, and no piece's
result depends on its neighbours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from beam_pipelines.encoding.piece_measures import longest_silence, polyphony
from midi_codec.cleaning import note_policies
from midi_codec.cleaning.cleaning_rules import DROP, ONLY, REJECT, CleaningRules
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import DRUM_PROGRAM
from midi_codec.music.piece_offsets import offsets_of


@dataclasses.dataclass(frozen=True, eq=False)
class Cleaned:
    """What is left. `rows[i]` is the index of piece i in the original batch; `drops` are (row, reason, message)."""

    batch: NoteBatch
    rows: np.ndarray  # [kept pieces] int64, ascending
    drops: list[tuple[int, str, str]]  # ascending by row


class _Findings:
    """The rules that pieces break, in the order in which they were checked."""

    def __init__(self) -> None:
        self.by_row: dict[int, list[tuple[str, str]]] = {}

    def note(self, reason: str, rows: np.ndarray, sentence: Callable[[int], str]) -> None:
        for row in rows.tolist():
            self.by_row.setdefault(row, []).append((reason, sentence(row)))

    def drops(self) -> list[tuple[int, str, str]]:
        return [
            (row, broken[0][0], "; ".join(sentence for _, sentence in broken))
            for row, broken in sorted(self.by_row.items())
        ]


def clean(batch: NoteBatch, rules: CleaningRules) -> Cleaned:
    """Applies the rules; returns the batch itself if all of them are off."""
    every = np.arange(len(batch))
    if rules.is_off or not len(batch):
        return Cleaned(batch, every, [])
    findings = _Findings()
    _note_unwanted_programs(batch, rules, findings)
    changed = note_policies.apply(batch, rules)
    _note_empty(batch, changed, rules, findings)
    sounding = np.flatnonzero(changed.lengths)
    if sounding.size:
        measured = changed if sounding.size == len(changed) else changed.take(sounding)
        _note_measures(measured, sounding, rules, findings)
    drops = findings.drops()
    if not drops:
        return Cleaned(changed, every, [])
    rows = np.delete(every, [row for row, _, _ in drops])
    return Cleaned(changed.take(rows), rows, drops)


# ------------------------------------------------------------------------------------------------- rules


def _note_unwanted_programs(batch: NoteBatch, rules: CleaningRules, findings: _Findings) -> None:
    if rules.drum_policy == REJECT:
        drums = np.diff(offsets_of(batch.program == DRUM_PROGRAM)[batch.offsets])
        findings.note(
            "has_drums", np.flatnonzero(drums), lambda row: f"has {drums[row]:,} drum notes, want none (--drum-policy)"
        )
    if rules.programs is not None and rules.other_programs == REJECT:
        is_other = (batch.program != DRUM_PROGRAM) & ~note_policies.is_listed(batch.program, rules)
        others = np.diff(offsets_of(is_other)[batch.offsets])

        def sentence(row: int) -> str:
            notes = slice(batch.offsets[row], batch.offsets[row + 1])
            programs = ", ".join(map(str, np.unique(batch.program[notes][is_other[notes]]).tolist()))
            return f"has {others[row]:,} notes of other programs ({programs}), want only those of --programs"

        findings.note("other_programs", np.flatnonzero(others), sentence)


def _note_empty(before: NoteBatch, after: NoteBatch, rules: CleaningRules, findings: _Findings) -> None:
    flags = ["--drum-policy"] if rules.drum_policy in (DROP, ONLY) else []
    flags += ["--programs"] if rules.programs is not None and rules.other_programs == DROP else []
    how = f" after {' and '.join(flags)}" if flags else ""
    lengths = before.lengths
    findings.note(
        "no_notes_left",
        np.flatnonzero(after.lengths == 0),
        lambda row: f"none of {lengths[row]:,} notes is left{how}, want at least 1",
    )


def _note_measures(batch: NoteBatch, rows: np.ndarray, rules: CleaningRules, findings: _Findings) -> None:
    """The rules that measure; no piece of `batch` is empty, and piece i is row `rows[i]` of the original batch."""

    def note(reason: str, is_broken: np.ndarray, values: np.ndarray, sentence: str) -> None:
        by_row = dict(zip(rows[is_broken].tolist(), values[is_broken].tolist(), strict=True))
        findings.note(reason, rows[is_broken], lambda row: sentence.format(by_row[row]))

    if rules.min_notes is not None:
        lengths = batch.lengths
        wanted = f"has {{:,}} notes, want at least {rules.min_notes:,} (--min-notes)"
        note("too_few_notes", lengths < rules.min_notes, lengths, wanted)
    seconds = batch.seconds()
    if rules.min_seconds is not None:
        wanted = f"lasts {{:.6g}} s, want at least {rules.min_seconds:g} s (--min-seconds)"
        note("too_short", seconds < rules.min_seconds, seconds, wanted)
    if rules.pitch_range is not None:
        _note_pitches(batch, rows, rules.pitch_range, findings)
    if rules.min_density is not None or rules.max_density is not None:
        density = np.divide(batch.lengths, seconds, out=np.full(len(batch), np.inf), where=seconds > 0)
        if rules.min_density is not None:
            wanted = f"has {{:.6g}} notes per second, want at least {rules.min_density:g} (--min-density)"
            note("too_sparse", density < rules.min_density, density, wanted)
        if rules.max_density is not None:
            wanted = f"has {{:.6g}} notes per second, want at most {rules.max_density:g} (--max-density)"
            note("too_dense", density > rules.max_density, density, wanted)
    if rules.max_silence is not None:
        silence = longest_silence(batch)
        wanted = f"has a silence of {{:.6g}} s, want at most {rules.max_silence:g} s (--max-silence)"
        note("long_silence", silence > rules.max_silence, silence, wanted)
    if rules.max_polyphony is not None:
        voices = polyphony(batch)
        wanted = f"has {{:,}} notes at once, want at most {rules.max_polyphony:,} (--max-polyphony)"
        note("too_polyphonic", voices > rules.max_polyphony, voices, wanted)


def _note_pitches(batch: NoteBatch, rows: np.ndarray, wanted: tuple[int, int], findings: _Findings) -> None:
    is_drum = batch.program == DRUM_PROGRAM
    begin = batch.offsets[:-1]
    lowest = np.minimum.reduceat(np.where(is_drum, wanted[0], batch.pitch), begin)
    highest = np.maximum.reduceat(np.where(is_drum, wanted[1], batch.pitch), begin)
    is_broken = (lowest < wanted[0]) | (highest > wanted[1])
    position_of = {int(row): position for position, row in enumerate(rows)} if is_broken.any() else {}

    def sentence(row: int) -> str:
        notes = slice(batch.offsets[position_of[row]], batch.offsets[position_of[row] + 1])
        pitches = batch.pitch[notes][~is_drum[notes]]
        return f"has pitches from {pitches.min()} to {pitches.max()}, want {wanted[0]} to {wanted[1]} (--pitch-range)"

    findings.note("pitch_out_of_range", rows[is_broken], sentence)
