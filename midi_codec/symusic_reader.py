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
from collections.abc import Sequence

import numpy as np
from symusic.core import ScoreTick

from midi_codec import byte_checks, symusic_notes, symusic_pedals, track_reader
from midi_codec.byte_checks import TEMPO_EVENT, Appearance
from midi_codec.midi_header import CHUNK, END_OF_TRACK, HEADER, Header, Limits, MidiError
from midi_codec.midi_ticks import TickBatch
from midi_codec.notes import DRUM_PROGRAM
from midi_codec.piece_offsets import offsets_of
from midi_codec.symusic_notes import ROW
from midi_codec.symusic_pedals import PedalColumns

SENTINEL_TEMPO = b"\xff\x51\x03\x00\x00\x00"  # stands behind the delta of the end-of-track event
SENTINEL_DELTA = b"\xc0\x80\x80\x00"
SENTINEL_TICKS = 2**27  # the same as a number: a real end that late makes the file slow to read, not wrong
TICK_LIMIT = 2**31 - 2 * SENTINEL_TICKS
SYSEX, ESCAPE, UNDEFINED = b"\xf0", b"\xf7", b"\xf4"  # as status bytes
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
    notes: list[bytes | memoryview] = dataclasses.field(default_factory=list)  # rows of `symusic_notes`
    num_notes: list[int] = dataclasses.field(default_factory=list)  # of each track
    programs: list[int] = dataclasses.field(default_factory=list)  # of each track
    track_offsets: list[int] = dataclasses.field(default_factory=lambda: [0])  # of each file, and the end
    pedals: PedalColumns | None = None  # of each track, when they are to be applied

    def add(self, file: int, score: ScoreTick, tempos: dict[str, np.ndarray], num_tempos: int) -> None:
        self.files.append(file)
        self.tempos.append(tempos)
        self.num_tempos.append(num_tempos)
        for track in score.tracks:
            if rows := symusic_notes.take_rows(track.notes):
                self.notes.append(rows)
                self.num_notes.append(len(rows) // ROW.itemsize)
                self.programs.append(DRUM_PROGRAM if track.is_drum else track.program)
        self.track_offsets.append(len(self.notes))

    def join(self, divisions: list[int]) -> TickBatch:
        rows = np.frombuffer(b"".join(self.notes), ROW)
        start, pitch = rows["time"].astype(np.int32), rows["pitch"].astype(np.uint8)
        end = start + rows["duration"]  # below 2**31: sums that could be more were left
        if self.pedals is not None:
            group = np.repeat(np.arange(len(self.num_notes)), self.num_notes)
            end = self.pedals.extend(start=start, end=end, pitch=pitch, group=group)
        ticks, microseconds = (
            np.concatenate([np.empty(0, np.int32), *(tempos[name] for tempos in self.tempos)])
            for name in ("time", "mspq")
        )
        meant = microseconds > 0
        return TickBatch(
            start=start,
            end=end,
            pitch=pitch,
            velocity=rows["velocity"].astype(np.uint8),
            program=np.repeat(np.array(self.programs, np.uint8), self.num_notes),
            offsets=offsets_of(self.num_notes)[self.track_offsets],
            tempo_ticks=ticks[meant].astype(np.int64),
            tempo_microseconds=microseconds[meant].astype(np.int64),
            tempo_offsets=offsets_of(self.num_tempos),
            divisions=np.array(divisions, np.int64),
        )


def read_many(
    datas: Sequence[bytes], headers: Sequence[Header], limits: Limits, *, apply_sustain: bool = False
) -> Reading:
    """Reads the files that symusic reads as written."""
    columns = _Columns(pedals=PedalColumns() if apply_sustain else None)
    left: list[int] = []
    errors: dict[int, MidiError] = {}
    for file, data in enumerate(datas):
        try:
            if not _read(file, data, headers[file], byte_checks.look_at(data, TICK_LIMIT), columns):
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
    if appearance.has_odd_tempo or not all(data.endswith(END_OF_TRACK, *bounds) for bounds in header.tracks):
        return False
    if ESCAPE in data and _has_escape_event(data, header):
        return False
    try:
        score = ScoreTick.from_midi(_with_sentinels(data, header, with_markers=columns.pedals is not None))
    except (RuntimeError, ValueError) as error:
        raise MidiError("malformed", f"malformed MIDI: {error}") from error
    except MemoryError:  # it sets much aside for each program of each channel
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


def _with_sentinels(data: bytes, header: Header, *, with_markers: bool = False) -> bytes:
    """The header and the tracks alone, sentinels added; every track ends in an end-of-track event.

    With markers, `symusic_pedals` can tell channels apart.
    """
    pieces = [HEADER.pack(b"MThd", HEADER.size - CHUNK.size, 1, len(header.tracks), header.division)]
    for begin, stop in header.tracks:
        events = data[begin : stop - len(END_OF_TRACK)]
        sentinel = _sentinel(bytes(filter(events.__contains__, NOTE_ONS)), with_markers)  # named by any byte
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


def _has_escape_event(data: bytes, header: Header) -> bool:
    """Whether F7 stands as a status, for an escape or a continued system exclusive message.

    symusic takes it for an event of one byte and goes on inside it. An undefined status in its place makes
    symusic stop there; in the payload of a message or in a delta it changes nothing of the structure.
    """
    position = data.find(ESCAPE)
    while position >= 0 and _is_payload(data, position):
        position = data.find(ESCAPE, position + 1)
    if position < 0:
        return False
    try:
        ScoreTick.from_midi(_with_sentinels(data.replace(ESCAPE, UNDEFINED), header))
    except (RuntimeError, ValueError, MemoryError):
        return True
    return False


def _is_payload(data: bytes, position: int) -> bool:
    """Whether the byte belongs to a tempo, or ends a system exclusive message of less than 128 bytes."""
    if data.find(TEMPO_EVENT, max(0, position - 5), position) >= 0:
        return True
    begin = data.rfind(SYSEX, max(0, position - 129), position)
    return begin >= 0 and data[begin + 1] == position - begin - 1 and data[begin + 2 : position].isascii()
