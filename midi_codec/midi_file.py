"""MIDI bytes to `Notes`, and `Notes` to MIDI bytes.

symusic reads the events in ticks; header, tempo map and grid are ours (`midi_header`, `tempo_map`).
`docs/midi.md` lists every rule of reading in one table. `serialize` lives in `midi_writer`.
"""

from __future__ import annotations

import numpy as np
from symusic.core import ScoreTick

from midi_codec.midi_header import Header, Limits, MidiError, read_header
from midi_codec.midi_writer import serialize
from midi_codec.notes import DRUM_PROGRAM, MILLISECONDS, TIME_BASES, Notes
from midi_codec.tempo_map import TempoMap

__all__ = ["Limits", "MidiError", "parse", "serialize"]

MAX_GRID_TICK = 2**31 - 1


def parse(data: bytes, *, time_base: str = MILLISECONDS, limits: Limits = Limits()) -> Notes:  # noqa: B008 frozen
    """Reads a file's notes; times as in the file, leading silence kept.

    `tempo` of the result is the one in force at the first onset.

    Raises:
      MidiError: a file we cannot use; its `reason` says which of the rules in `docs/midi.md` it breaks.
    """
    if time_base not in TIME_BASES:
        raise ValueError(f"time_base is {time_base!r}, want one of {', '.join(TIME_BASES)}")
    header = read_header(data, limits)
    columns, tempo_map = _read(data, header, limits)
    return _to_notes(columns, tempo_map, time_base=time_base, limits=limits)


def _read(data: bytes, header: Header, limits: Limits) -> tuple[dict[str, np.ndarray], TempoMap]:
    try:
        score = ScoreTick.from_midi(data)
    except (RuntimeError, ValueError) as error:
        raise MidiError("malformed", f"malformed MIDI: {error}") from error
    tempos = score.tempos.numpy()
    if len(tempos["time"]) > limits.max_tempo_changes:
        raise MidiError("too_many_tempo_changes", f"{len(tempos['time']):,} tempo changes")
    tempo_map = TempoMap(tempos["time"], tempos["mspq"], header.division)
    parts = [(track.notes.numpy(), DRUM_PROGRAM if track.is_drum else track.program) for track in score.tracks]
    parts = [part for part in parts if len(part[0]["time"])]
    if not parts:
        raise MidiError("no_notes", "the file holds no note")
    columns = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    columns["program"] = np.repeat(
        np.array([program for _, program in parts], np.uint8), [len(part["time"]) for part, _ in parts]
    )
    return columns, tempo_map


def _to_notes(columns: dict[str, np.ndarray], tempo_map: TempoMap, *, time_base: str, limits: Limits) -> Notes:
    if len(columns["time"]) > limits.max_notes:
        raise MidiError("too_many_notes", f"{len(columns['time']):,} notes, want at most {limits.max_notes:,}")
    start = columns["time"].astype(np.int64)
    end = start + columns["duration"]
    seconds = tempo_map.seconds_at(int(end.max()))
    if seconds > limits.max_seconds:
        raise MidiError("too_long", f"lasts {seconds:,.0f} s, want at most {limits.max_seconds:,.0f}")
    grid_start, grid_end = tempo_map.to_grid(start, time_base), tempo_map.to_grid(end, time_base)
    return Notes.from_columns(
        pitch=columns["pitch"],
        velocity=columns["velocity"],
        start=grid_start,
        duration=grid_end - grid_start,
        program=columns["program"],
        tempo=tempo_map.tempo_at(int(start.min())),
        time_base=time_base,
    )
