"""Reading files that strict reading refuses, at one of three levels (`rung` in the ledger of salvaged files).

    strict -> clamped -> unwrapped -> repaired -> refused, for the reason given by strict reading

- `clamped`: the file is intact, but some data bytes are above 7F; they count as 7F.
- `unwrapped`: an intact file inside another one: RIFF (RMID), MacBinary, or any bytes before it.
- `repaired`: tracks are found wherever they are, and read as far as they are intact. Notes that sound at the damage
  end there.

docs/midi.md has the rules. The tracks are read once for all levels.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from midi_codec.midi import midi_ticks
from midi_codec.midi.exact_reader import track_reader
from midi_codec.midi.midi_header import Limits, MidiError, read_header
from midi_codec.midi.midi_ticks import TickNotes
from midi_codec.midi.salvage import chunk_repair, track_repair
from midi_codec.midi.salvage.chunk_repair import RepairedHeader, TrackBounds
from midi_codec.midi.salvage.track_repair import RepairedTrack
from midi_codec.music.notes import MILLISECONDS
from midi_codec.music.signatures import Signatures

CLAMPED, UNWRAPPED, REPAIRED = "clamped", "unwrapped", "repaired"
LEVELS = (CLAMPED, UNWRAPPED, REPAIRED)
HOPELESS = frozenset({"empty", "too_large", "too_many_tracks", "too_many_notes", "too_many_tempo_changes", "too_long"})
MAX_BYTES = 3 << 18  # of all tracks: strict reading may have cost the same before
MAX_SILENT_QUARTERS = 1024  # quarter notes without an event, if noise is suspected
MAX_SILENCE_MILLISECONDS = 300_000  # in a file with repaired faults: noise makes long deltas
MIN_SOUND_SHARE = 0.5  # of the bytes of all tracks: below this, apparent notes may be noise


@dataclasses.dataclass(frozen=True)
class Recovered:
    """The notes of a file that strict reading refuses, and the level at which it was read."""

    ticks: TickNotes
    division: int  # ticks per quarter note
    level: str  # one of LEVELS
    damaged: DamagedFile

    def of_track(self, number: int, *, apply_sustain: bool = False) -> TickNotes:
        """The notes of one track, counted from 0; other tracks still affect its channels and its time."""
        events = [track.events for track in self.damaged.tracks]
        ticks = track_reader.assemble(events, apply_sustain=apply_sustain, only_track=number)
        return _in_real_time(ticks, self.damaged.header)


@dataclasses.dataclass(frozen=True)
class DamagedFile:
    """What was read of a damaged file."""

    header: RepairedHeader
    tracks: list[RepairedTrack]
    is_sound_outside: bool  # whether the chunk structure is intact from the header on


def recover(data: bytes, *, limits: Limits, apply_sustain: bool = False, error: MidiError | None = None) -> Recovered:
    """Reads what can be read of a file that strict reading refuses with `error`.

    The result has a note and is within the limits on the milliseconds grid. On the beats grid it may still be too long.

    Raises:
      MidiError: nothing can be read. It is `error` itself, or a `malformed` one if no error was given.
    """
    error = error or MidiError("malformed", "malformed MIDI, and none of it can be salvaged")
    if error.reason in HOPELESS or len(data) > limits.max_bytes:
        raise error
    restored = _without_line_ends(data, limits)
    try:
        recovered = _read(data if restored is None else restored, limits, apply_sustain=apply_sustain)
    except MidiError:
        recovered = None
    if recovered is None:
        raise error
    return recovered if restored is None else dataclasses.replace(recovered, level=REPAIRED)


def _without_line_ends(data: bytes, limits: Limits) -> bytes | None:
    """The file before a transfer as text inserted a carriage return before each line feed; None if there was none.

    There was one if every line feed has a carriage return, and the chunks fit only without them.
    """
    if not 0 < data.count(b"\n") == data.count(b"\r\n") or _strict_tracks(data, 0, limits) is not None:
        return None
    restored = data.replace(b"\r\n", b"\n")
    return None if _strict_tracks(restored, 0, limits) is None else restored


def _strict_tracks(data: bytes, position: int, limits: Limits) -> list[TrackBounds] | None:
    """The tracks of the file that begins at `position`, if its chunk structure is intact."""
    try:
        header = read_header(data[position:], limits)
    except MidiError:
        return None
    return [TrackBounds(position + begin, position + stop, True) for begin, stop in header.tracks]


def read_damaged(data: bytes, limits: Limits, *, warily: bool = False) -> DamagedFile | None:
    """Reads all tracks as far as they are intact; None if there are none or too many, or if ticks have no length.

    With `warily` it repairs nothing, and treats a silence too long for music as damage.
    """
    header = chunk_repair.find_header(data)
    if header is None:
        return None
    strict = _strict_tracks(data, header.position, limits)
    all_bounds = chunk_repair.find_tracks(data, header.tracks_from) if strict is None else strict
    bounds = list(itertools.islice(all_bounds, limits.max_tracks + 1))
    if not 0 < len(bounds) <= limits.max_tracks:
        return None
    if sum(track.stop - track.begin for track in bounds) > min(limits.max_slow_bytes, MAX_BYTES):
        return None
    if warily:
        tracks = track_repair.read_tracks_warily(data, bounds, max_delta=MAX_SILENT_QUARTERS * header.division)
        return DamagedFile(header, tracks, is_sound_outside=False)
    tracks = track_repair.read_tracks(data, bounds)
    if not any(track.has_notes for track in tracks):
        tracks = track_repair.read_tracks(data, bounds, past_end=True)
    return DamagedFile(header, tracks, is_sound_outside=strict is not None)


def _read(data: bytes, limits: Limits, *, apply_sustain: bool) -> Recovered | None:
    for warily in (False, True):
        damaged = read_damaged(data, limits, warily=warily)
        if damaged is None or not any(track.has_notes for track in damaged.tracks):
            return None
        recovered = _evaluate(damaged, limits, apply_sustain=apply_sustain)
        if recovered is not None:
            return recovered
    return None


def _evaluate(damaged: DamagedFile, limits: Limits, *, apply_sustain: bool) -> Recovered | None:
    """The notes that were read; None if they are too long or probably noise.

    If faults were repaired in a file that is not intact, noise shows as a silence too long for music, or as more faults
    than notes.

    Raises:
      MidiError: the notes break another limit, or there are none.
    """
    if not _is_trusted(damaged):
        return None
    ticks = track_reader.assemble([track.events for track in damaged.tracks], apply_sustain=apply_sustain)
    ticks = _in_real_time(ticks, damaged.header)
    division, level = damaged.header.division, _level(damaged)
    try:
        notes = midi_ticks.to_notes(ticks, division=division, time_base=MILLISECONDS, limits=limits)
    except MidiError as error:
        if error.reason == "too_long":  # noise makes long deltas
            return None
        raise
    num_mended = sum(track.num_mended for track in damaged.tracks)
    if num_mended and level == REPAIRED:
        silence = int(np.max(notes.start[1:] - np.maximum.accumulate(notes.end)[:-1], initial=0))
        if silence > MAX_SILENCE_MILLISECONDS or num_mended > len(notes):
            return None
    return Recovered(ticks, division, level, damaged)


def _is_trusted(damaged: DamagedFile) -> bool:
    """Whether it is one piece, and most of it is intact."""
    if damaged.header.is_multi_song and sum(track.has_notes for track in damaged.tracks) > 1:
        return False
    num_bytes = sum(track.num_bytes for track in damaged.tracks)
    return sum(track.num_sound_bytes for track in damaged.tracks) >= MIN_SOUND_SHARE * num_bytes


def _in_real_time(ticks: TickNotes, header: RepairedHeader) -> TickNotes:
    """Converts SMPTE time, whose ticks do not depend on the tempo."""
    if header.has_tempos:
        return ticks
    return dataclasses.replace(
        ticks,
        start=ticks.start * header.tick_factor,
        end=ticks.end * header.tick_factor,
        tempo_ticks=ticks.tempo_ticks[:0],
        tempo_microseconds=ticks.tempo_microseconds[:0],
        signatures=Signatures(),
    )


def _level(damaged: DamagedFile) -> str:
    if not damaged.is_sound_outside or not all(track.is_whole for track in damaged.tracks):
        return REPAIRED
    num_clamped = sum(track.num_clamped for track in damaged.tracks)
    if damaged.header.position:
        return REPAIRED if num_clamped else UNWRAPPED
    return CLAMPED if num_clamped else REPAIRED
