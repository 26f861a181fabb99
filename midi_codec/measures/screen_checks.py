"""The checks of screening: how bad the worst window of a piece is, for each fault that listeners complain about.

Windows are 256 generated notes, each beginning where the previous one ends; the last one is extended backwards to be
full. A shorter piece is one window. Times are in seconds on the grid of milliseconds and in beats on the grid of beats.

    longest_repeat    the longest run of consecutive notes of one pitch and program
    pitch_share       the share of notes that have the commonest pitch and program
    loop_notes_P      the longest run of notes with the pitch and program of the note p before, plus p; the run has at
                      least p notes, so the loop sounds twice. For periods p above P / 2 and up to P; P is 2, 4, 8
                      ... 64: tunes repeat their strains, and that must not hide four notes repeated endlessly
    longest_silence   the longest time without a sounding note before a note begins
    longest_note      the longest duration
    note_share        the same as a share of the window's time, from the first onset to the last end
    overlap_share     the share of notes that begin while one of the same pitch and program sounds
    max_polyphony     the most notes that sound as a note begins, that one included
    max_begun         the most notes that begin within one second, or beat
    low_density       notes per second, or beat, from the first onset to the last: the lowest of all windows
    high_density      the same, the highest of all windows
    length            the end of the last note; of the whole piece
    ended_notes       notes of the whole piece, if the model ended it; a piece that met a limit has no such value
"""

from __future__ import annotations

import numpy as np

from midi_codec.music.notes import MILLISECONDS, TICKS_PER_BEAT, TICKS_PER_SECOND, Notes
from midi_codec.music.sounding import silences, sounding_at_onsets

WINDOW_NOTES = 256
MIN_DENSITY_NOTES = 32  # a smaller window has no density
MAX_LOOP_NOTES = 64
LOOPS = {f"loop_notes_{longest}": longest for longest in (2, 4, 8, 16, 32, MAX_LOOP_NOTES)}  # longest period of each

LOW = ("low_density", "ended_notes")  # too low is a fault; for the others too high
RATES = ("max_begun", "low_density", "high_density")  # above 0; outliers differ by a factor
NAMES = (
    "longest_repeat", "pitch_share", *LOOPS, "longest_silence", "longest_note", "note_share", "overlap_share",
    "max_polyphony", "max_begun", "low_density", "high_density", "length", "ended_notes",
)  # fmt: skip
DECIMALS = 6


def check_piece(notes: Notes, num_given: int, *, ended: bool) -> dict[str, float]:
    """The value of the worst window per check; checks without a value are left out, all if nothing was generated."""
    windows = check_windows(notes, num_given)
    if not windows["longest_repeat"].size:
        return {"ended_notes": float(len(notes))} if ended else {}
    values = {}
    for name, per_window in windows.items():
        per_window = per_window[~np.isnan(per_window)]
        if per_window.size:
            values[name] = float(per_window.min() if name in LOW else per_window.max())
    values["length"] = float(notes.end.max() - notes.start[0]) / _unit(notes)
    if ended:
        values["ended_notes"] = float(len(notes))
    return {name: round(value, DECIMALS) for name, value in values.items()}


def check_windows(notes: Notes, num_given: int) -> dict[str, np.ndarray]:
    """`[windows]` float64 per check of windows; NaN where a window is too short."""
    columns = _of_notes(notes)
    bounds = window_bounds(len(notes), num_given)
    rows = [{name: values[begin:end] for name, values in columns.items()} for begin, end in bounds]
    judged = [_judge_window(row, _unit(notes)) for row in rows]
    return {name: np.array([row[name] for row in judged], np.float64) for name in NAMES[:-2]}


def window_bounds(num_notes: int, num_given: int) -> list[tuple[int, int]]:
    """The first and one past the last note of each window."""
    if num_notes <= num_given:
        return []
    last = max(num_notes - WINDOW_NOTES, num_given)
    return [(begin, min(begin + WINDOW_NOTES, num_notes)) for begin in (*range(num_given, last, WINDOW_NOTES), last)]


def _unit(notes: Notes) -> int:
    return TICKS_PER_SECOND if notes.time_base == MILLISECONDS else TICKS_PER_BEAT


def _of_notes(notes: Notes) -> dict[str, np.ndarray]:
    """`[n]` columns of values per note that depend on all notes before it, including the primer's."""
    start, end = notes.start.astype(np.int64), notes.end
    voice = notes.program.astype(np.int64) * 128 + notes.pitch
    return {
        "start": start,
        "voice": voice,
        "duration": notes.duration.astype(np.int64),
        "silence": silences(start, end),
        "overlaps": _overlaps(voice, start, end),
        "sounding": sounding_at_onsets(start, end),
    }


def _overlaps(voice: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Whether an earlier note of the voice still sounds. One pass: each voice is shifted far after the previous one."""
    order = np.argsort(voice, kind="stable")
    far = (int(end.max(initial=0)) + 1) * np.cumsum(np.diff(voice[order], prepend=voice[order][:1]) != 0)
    until = np.maximum.accumulate(end[order] + far)
    overlaps = np.zeros(len(voice), bool)
    overlaps[order[1:]] = until[:-1] > start[order[1:]] + far[1:]
    return overlaps


def _judge_window(row: dict[str, np.ndarray], unit: int) -> dict[str, float]:
    start, voice = row["start"], row["voice"]
    size = len(start)
    density = np.nan
    if size >= MIN_DENSITY_NOTES:
        density = (size - 1) * unit / max(int(start[-1] - start[0]), 1)
    begun = np.searchsorted(start, start + unit) - np.arange(size)
    return {
        "longest_repeat": _longest_repeat(voice),
        "pitch_share": np.unique(voice, return_counts=True)[1].max() / size if size >= MIN_DENSITY_NOTES else np.nan,
        **_loop_notes(voice),
        "longest_silence": row["silence"].max() / unit,
        "longest_note": row["duration"].max() / unit,
        "note_share": row["duration"].max() / max(int((start + row["duration"]).max() - start[0]), 1)
        if size >= MIN_DENSITY_NOTES
        else np.nan,
        "overlap_share": row["overlaps"].mean() if size >= MIN_DENSITY_NOTES else np.nan,
        "max_polyphony": row["sounding"].max(),
        "max_begun": begun.max(),
        "low_density": density,
        "high_density": density,
    }


def _longest_repeat(voice: np.ndarray) -> int:
    return int(_runs((voice[1:] == voice[:-1])[None])[0]) + 1


def _loop_notes(voice: np.ndarray) -> dict[str, int]:
    """The longest loop per class of periods; 0 if there is none."""
    periods = np.arange(2, MAX_LOOP_NOTES + 1)
    index = np.arange(len(voice))[None] - periods[:, None]  # [periods, notes]
    runs = _runs((index >= 0) & (voice[np.maximum(index, 0)] == voice[None]))
    loops = np.where(runs >= periods, runs + periods, 0)
    return {name: int(loops[(periods > most // 2) & (periods <= most)].max()) for name, most in LOOPS.items()}


def _runs(same: np.ndarray) -> np.ndarray:
    """The longest run of True in each row, `[rows]`."""
    if not same.shape[1]:
        return np.zeros(len(same), np.int64)
    position = np.arange(1, same.shape[1] + 1)
    last_false = np.maximum.accumulate(np.where(same, 0, position), axis=1)
    return (position - last_false).max(axis=1)
