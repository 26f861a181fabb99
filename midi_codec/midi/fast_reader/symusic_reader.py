"""Reading with symusic, in such a way that what it would misread in silence is noticed.

symusic is handed a copy of the tracks, each with a sentinel just before its end-of-track event: a tempo
of 0, then, a long time later, the end of every key on every channel that might have notes. So

- a sentinel that does not come back means that symusic left the track early or lost its place;
- a note that ends in the sentinel's time had no end of its own;
- a real tempo of 0, or a sum of ticks near the limits of int32, shows as well.

What the copy cannot show is looked for in the bytes before (`byte_checks`). In all these cases the file is
left for `track_reader`. docs/midi.md has the table.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
from symusic.core import ScoreTick, TrackTick

from midi_codec.midi import part_modes
from midi_codec.midi.exact_reader import track_reader
from midi_codec.midi.exact_reader.track_events import BANK
from midi_codec.midi.fast_reader import byte_checks, symusic_pedals, symusic_probe
from midi_codec.midi.fast_reader.byte_checks import Appearance
from midi_codec.midi.fast_reader.symusic_pedals import PedalColumns
from midi_codec.midi.midi_header import CHUNK, END_OF_TRACK, HEADER, Header, Limits, MidiError
from midi_codec.midi.midi_ticks import TickBatch
from midi_codec.music.notes import DRUM_PROGRAM
from midi_codec.music.piece_offsets import offsets_of, reduce_pieces

SENTINEL_TEMPO = b"\xff\x51\x03\x00\x00\x00"  # stands behind the delta of the end-of-track event
SENTINEL_DELTA = b"\xc0\x80\x80\x00"
SENTINEL_TICKS = 2**27  # the same as a number: a real end that late makes the file slow to read, not wrong
TICK_LIMIT = 2**31 - 2 * SENTINEL_TICKS
MAX_PARTS = 1 << 14  # programs of channels of tracks: symusic sets 5 kB aside for each that has a note
MAX_PARTS_OF_TRACK = 16 * 128
NOTE_ONS = bytes(range(0x90, 0xA0))


@dataclasses.dataclass(frozen=True)
class Reading:
    """What symusic made of some files."""

    ticks: TickBatch
    files: np.ndarray  # [files read] int64, ascending: which of the files each in `ticks` is
    left: list[int]  # files that symusic may not read as written
    errors: dict[int, MidiError]  # by file: `malformed`; `too_costly` from the track reader


@dataclasses.dataclass
class _Columns:
    """symusic's columns of the files read so far: an item a file, or a track that has notes."""

    files: list[int] = dataclasses.field(default_factory=list)
    tempos: list[dict[str, np.ndarray]] = dataclasses.field(default_factory=list)
    num_tempos: list[int] = dataclasses.field(default_factory=list)  # of each file, sentinels not counted
    notes: list[dict[str, np.ndarray]] = dataclasses.field(default_factory=list)  # of each track
    num_notes: list[int] = dataclasses.field(default_factory=list)  # of each track
    programs: list[int] = dataclasses.field(default_factory=list)  # of each track
    track_offsets: list[int] = dataclasses.field(default_factory=lambda: [0])  # of each file, and the end
    pedals: PedalColumns | None = None  # of each track, when they are to be applied

    def add(self, file: int, score: ScoreTick, tempos: dict[str, np.ndarray], num_tempos: int) -> None:
        self.files.append(file)
        self.tempos.append(tempos)
        self.num_tempos.append(num_tempos)
        for track in score.tracks:
            if num_notes := len(track.notes):
                self.notes.append(track.notes.numpy())
                self.num_notes.append(num_notes)
                self.programs.append(DRUM_PROGRAM if track.is_drum else track.program)
        self.track_offsets.append(len(self.notes))

    def join(self, divisions: list[int]) -> TickBatch:
        start, duration = (_join(self.notes, name, np.int32) for name in ("time", "duration"))
        pitch, velocity = (_join(self.notes, name, np.int8).view(np.uint8) for name in ("pitch", "velocity"))
        end = start + duration  # below 2**31: sums that could be more were left
        offsets = offsets_of(self.num_notes)[self.track_offsets]
        if self.pedals is not None:
            group = np.repeat(np.arange(len(self.num_notes)), self.num_notes)
            last_ticks = np.repeat(reduce_pieces(np.maximum, end, offsets), np.diff(self.track_offsets))
            end = self.pedals.extend(start=start, end=end, pitch=pitch, group=group, last_ticks=last_ticks)
        ticks, microseconds = (_join(self.tempos, name, np.int32) for name in ("time", "mspq"))
        meant = microseconds > 0
        return TickBatch(
            start=start,
            end=end,
            pitch=pitch,
            velocity=velocity,
            program=np.repeat(np.array(self.programs, np.uint8), self.num_notes),
            offsets=offsets,
            tempo_ticks=ticks[meant].astype(np.int64),
            tempo_microseconds=microseconds[meant].astype(np.int64),
            tempo_offsets=offsets_of(self.num_tempos),
            divisions=np.array(divisions, np.int64),
        )


def _join(columns: Sequence[dict[str, np.ndarray]], name: str, dtype: type[np.integer]) -> np.ndarray:
    """One column of all tracks or files, of symusic's type."""
    return np.concatenate([np.empty(0, dtype), *(each[name] for each in columns)])


def read_many(
    datas: Sequence[bytes], headers: Sequence[Header], limits: Limits, *, apply_sustain: bool = False
) -> Reading:
    """Reads the files that symusic reads as written."""
    columns = _Columns(pedals=PedalColumns() if apply_sustain else None)
    left: list[int] = []
    errors: dict[int, MidiError] = {}
    looks = byte_checks.look_at(datas, TICK_LIMIT) if len(datas) else []
    for file, data in enumerate(datas):
        try:
            if not _read(file, data, headers[file], looks[file], columns):
                left.append(file)
        except MidiError as error:
            errors[file] = error
    ticks = columns.join([headers[file].division for file in columns.files])
    is_read = (ticks.last_ticks < SENTINEL_TICKS) & (ticks.first_ticks >= 0)
    left += [columns.files[index] for index in np.flatnonzero(~is_read)]
    replaced = {}
    for index in _contradictory(ticks):
        file = columns.files[index]
        try:
            replaced[index] = track_reader.read_tempos(datas[file], headers[file], limits)
        except MidiError as error:
            if is_read[index]:
                errors[file] = error
            is_read[index] = False
    ticks = _replace_tempos(ticks, replaced) if replaced else ticks
    rows = np.flatnonzero(is_read)
    files = np.array(columns.files, np.int64)[rows]
    return Reading(ticks if len(rows) == len(ticks) else ticks.take(rows), files, sorted(left), errors)


def _read(file: int, data: bytes, header: Header, appearance: Appearance, columns: _Columns) -> bool:
    """Adds the file to the columns; False when symusic may not read it as written.

    Raises:
      MidiError: `malformed`.
    """
    if appearance.has_odd_tempo or appearance.may_move_drums:
        return False
    if not all(data.endswith(END_OF_TRACK, *bounds) for bounds in header.tracks):
        return False
    note_ons = [_note_ons(data[begin:stop]) for begin, stop in header.tracks]
    num_tracks = len(header.tracks)
    num_parts = min(appearance.num_programs + sum(map(len, note_ons)), num_tracks * MAX_PARTS_OF_TRACK)
    if num_parts > MAX_PARTS:
        return False
    if len(appearance.suspects) and symusic_probe.begins_event(data, header, appearance.suspects):
        return False
    apply_sustain = columns.pedals is not None
    try:
        score = ScoreTick.from_midi(_with_sentinels(data, header, note_ons, with_markers=apply_sustain))
    except (RuntimeError, ValueError) as error:
        raise MidiError("malformed", f"malformed MIDI: {error}") from error
    except MemoryError:
        return False
    may_depend = apply_sustain or appearance.may_set_programs and any(map(_has_first_program, score.tracks))
    if len(appearance.running_banks) and _selects_bank(data, header, note_ons, score, appearance.running_banks):
        return False
    may_depend = may_depend and num_tracks > 1
    if may_depend and symusic_probe.depends_on_others(data, header, note_ons, apply_sustain=apply_sustain):
        return False
    tempos = score.tempos.numpy()
    microseconds = tempos["mspq"]
    num_tempos = int(np.count_nonzero(microseconds))
    if len(microseconds) - num_tempos != len(header.tracks):
        return False
    if appearance.may_be_late and byte_checks.sum_of_deltas(data, num_tempos=num_tempos) >= TICK_LIMIT:
        return False
    if columns.pedals is not None:
        if any(symusic_pedals.may_name_programs_twice(data[begin:stop]) for begin, stop in header.tracks):
            return False
        if tempos["time"][microseconds == 0].max() >= SENTINEL_TICKS or not columns.pedals.add(score, SENTINEL_TICKS):
            return False
    columns.add(file, score, tempos, num_tempos)
    return True


def _contradictory(ticks: TickBatch) -> list[int]:
    """The files with two tempos at one tick: symusic's sort does not keep the order of equal ticks."""
    again = np.flatnonzero(ticks.tempo_ticks[1:] == ticks.tempo_ticks[:-1])
    again = again[ticks.tempo_microseconds[again] != ticks.tempo_microseconds[again + 1]]
    files = ticks.tempo_offsets.searchsorted(again, side="right") - 1
    return np.unique(files[again + 1 < ticks.tempo_offsets[files + 1]]).tolist()


def _replace_tempos(ticks: TickBatch, replaced: dict[int, tuple[np.ndarray, np.ndarray]]) -> TickBatch:
    bounds = ticks.tempo_offsets[1:-1]
    by_file = list(zip(np.split(ticks.tempo_ticks, bounds), np.split(ticks.tempo_microseconds, bounds), strict=True))
    for index, tempos in replaced.items():
        by_file[index] = tempos
    tempo_ticks, microseconds = (np.concatenate(columns) for columns in zip(*by_file, strict=True))
    tempo_offsets = offsets_of([len(tempos[0]) for tempos in by_file])
    return dataclasses.replace(
        ticks, tempo_ticks=tempo_ticks, tempo_microseconds=microseconds, tempo_offsets=tempo_offsets
    )


def _has_first_program(track: TrackTick) -> bool:
    """Whether its notes have program 0: what another track names would have been for them."""
    return not track.is_drum and track.program == 0


def _selects_bank(
    data: bytes, header: Header, note_ons: Sequence[bytes], score: ScoreTick, suspects: np.ndarray
) -> bool:
    """Whether a bank that moves the drums may be selected at one of the suspects.

    symusic shows the controls of a channel that has notes in their track; the bytes are asked where it has none.
    """
    for track in score.tracks:
        if len(track.controls):
            controls = track.controls.numpy()
            if np.any((controls["number"] == BANK) & (controls["value"] >= min(part_modes.GM2_BANKS))):
                return True
    tracks_of_channels = Counter(itertools.chain.from_iterable(note_ons))
    is_elsewhere = [
        any(tracks_of_channels[status] > (status in own) and status + 0x20 in data[begin:stop] for status in NOTE_ONS)
        for own, (begin, stop) in zip(note_ons, header.tracks, strict=True)
    ]
    kept = np.zeros(len(suspects), bool)
    for (begin, stop), is_asked in zip(header.tracks, is_elsewhere, strict=True):
        kept |= is_asked & (begin <= suspects) & (suspects < stop)
    return bool(kept.any()) and symusic_probe.begins_event(data, header, suspects[kept])


def _note_ons(events: bytes) -> bytes:
    """The note-on statuses that are somewhere among the bytes."""
    return bytes(filter(events.__contains__, NOTE_ONS))


def _with_sentinels(data: bytes, header: Header, note_ons: Sequence[bytes], *, with_markers: bool) -> bytes:
    """The header and the tracks alone, sentinels added; every track ends in an end-of-track event.

    With markers, `symusic_pedals` can tell channels apart.
    """
    pieces = [HEADER.pack(b"MThd", HEADER.size - CHUNK.size, 1, len(header.tracks), header.division)]
    for (begin, stop), statuses in zip(header.tracks, note_ons, strict=True):
        events, sentinel = data[begin : stop - len(END_OF_TRACK)], _sentinel(statuses, with_markers)
        pieces += [CHUNK.pack(b"MTrk", len(events) + len(sentinel)), events, sentinel]
    return b"".join(pieces)


@functools.lru_cache(maxsize=512)
def _sentinel(note_ons: bytes, with_markers: bool) -> bytes:
    """For the channels of these note-on statuses; more than are used do no harm."""
    ends = b"".join(map(_all_ends, note_ons))
    if with_markers:
        ends += b"".join(map(symusic_pedals.marker, note_ons))
    return SENTINEL_TEMPO + SENTINEL_DELTA + (ends + b"\x00")[1:] + END_OF_TRACK


@functools.cache
def _all_ends(note_on: int) -> bytes:
    """The ends of all keys of a channel, each behind a delta of 0, all under the status of the first."""
    first, *others = (bytes([0, pitch, 0]) for pitch in range(128))
    return b"".join([first[:1], bytes([note_on - 0x10]), first[1:], *others])
