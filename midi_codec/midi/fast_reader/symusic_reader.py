"""Reading with symusic, in such a way that nothing is silently misread.

symusic reads a copy of the tracks, each with a sentinel just before its end-of-track event: a tempo of 0,
then, a long time later, the end of every key on every channel that might have notes. So

- a missing sentinel means that symusic left the track early or misread it;
- a note that ends at the sentinel's time had no end of its own;
- a real tempo of 0, or a sum of ticks near the limit of int32, is visible as well.

`byte_checks` examines the bytes beforehand for what the copy cannot show. In all these cases the file is
left for `track_reader`. docs/midi.md has the table.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from symusic.core import ScoreTick

from midi_codec.midi import part_modes, signature_events
from midi_codec.midi.exact_reader import track_reader
from midi_codec.midi.exact_reader.track_events import BANK
from midi_codec.midi.fast_reader import byte_checks, symusic_channels, symusic_pedals, symusic_probe
from midi_codec.midi.fast_reader.byte_checks import Appearance
from midi_codec.midi.fast_reader.symusic_pedals import PedalColumns
from midi_codec.midi.midi_header import CHUNK, END_OF_TRACK, HEADER, Header, Limits, MidiError
from midi_codec.midi.midi_ticks import TickBatch
from midi_codec.music.notes import DRUM_PROGRAM
from midi_codec.music.piece_offsets import offsets_of, reduce_pieces
from midi_codec.music.signatures import Signatures

SENTINEL_TEMPO = b"\xff\x51\x03\x00\x00\x00"  # follows the delta of the end-of-track event
SENTINEL_DELTA = b"\xc0\x80\x80\x00"
SENTINEL_TICKS = 2**27  # the same as a number: a real end that late makes the file slow to read, not misread
TICK_LIMIT = 2**31 - 2 * SENTINEL_TICKS
MAX_PARTS = 1 << 14  # programs per channel per track: symusic allocates 5 kB for each that has a note
MAX_PARTS_OF_TRACK = 16 * 128
NOTE_ONS = bytes(range(0x90, 0xA0))


@dataclasses.dataclass(frozen=True)
class Reading:
    """The result of reading some files with symusic."""

    ticks: TickBatch
    files: np.ndarray  # [files read] int64, ascending: the file of each item of `ticks`
    left: list[int]  # files that symusic might misread
    errors: dict[int, MidiError]  # by file: `malformed`; `too_costly` from the track reader


class Markers(NamedTuple):
    """Which messages the sentinels of channels have."""

    pedals: bool  # for `symusic_pedals`
    channels: bool  # for `symusic_channels`


@dataclasses.dataclass
class _Columns:
    """symusic's columns of the files read so far: one item per file, or per track that has notes."""

    files: list[int] = dataclasses.field(default_factory=list)
    tempos: list[dict[str, np.ndarray]] = dataclasses.field(default_factory=list)
    num_tempos: list[int] = dataclasses.field(default_factory=list)  # of each file, without sentinels
    signatures: list[Signatures] = dataclasses.field(default_factory=list)  # of each file
    notes: list[dict[str, np.ndarray]] = dataclasses.field(default_factory=list)  # of each track
    num_notes: list[int] = dataclasses.field(default_factory=list)  # of each track
    programs: list[int] = dataclasses.field(default_factory=list)  # of each track
    track_offsets: list[int] = dataclasses.field(default_factory=lambda: [0])  # of each file, and the end
    pedals: PedalColumns | None = None  # of each track, if they are applied

    def add(
        self, file: int, score: ScoreTick, tempos: dict[str, np.ndarray], num_tempos: int, signatures: Signatures
    ) -> None:
        self.files.append(file)
        self.tempos.append(tempos)
        self.num_tempos.append(num_tempos)
        self.signatures.append(signatures)
        for track in score.tracks:
            notes = track.notes
            if num_notes := len(notes):
                self.notes.append(notes.numpy())
                self.num_notes.append(num_notes)
                self.programs.append(DRUM_PROGRAM if track.is_drum else track.program)
        self.track_offsets.append(len(self.notes))

    def join(self, divisions: list[int]) -> TickBatch:
        start, duration = (_join(self.notes, name, np.int32) for name in ("time", "duration"))
        pitch, velocity = (_join(self.notes, name, np.int8).view(np.uint8) for name in ("pitch", "velocity"))
        end = start + duration  # below 2**31: files with larger sums were left
        offsets = offsets_of(self.num_notes)[self.track_offsets]
        if self.pedals is not None:
            group = np.repeat(np.arange(len(self.num_notes)), self.num_notes)
            last_ticks = np.repeat(reduce_pieces(np.maximum, end, offsets), np.diff(self.track_offsets))
            end = self.pedals.extend(start=start, end=end, pitch=pitch, group=group, last_ticks=last_ticks)
        ticks, microseconds = (_join(self.tempos, name, np.int32) for name in ("time", "mspq"))
        is_real = microseconds > 0
        return TickBatch(
            start=start,
            end=end,
            pitch=pitch,
            velocity=velocity,
            program=np.repeat(np.array(self.programs, np.uint8), self.num_notes),
            offsets=offsets,
            tempo_ticks=ticks[is_real].astype(np.int64),
            tempo_microseconds=microseconds[is_real].astype(np.int64),
            tempo_offsets=offsets_of(self.num_tempos),
            divisions=np.array(divisions, np.int64),
            signatures=self.signatures,
        )


def _join(columns: Sequence[dict[str, np.ndarray]], name: str, dtype: type[np.integer]) -> np.ndarray:
    """One column of all tracks or files, with symusic's type."""
    return np.concatenate([np.empty(0, dtype), *(each[name] for each in columns)])


def read_many(
    files: Sequence[bytes], headers: Sequence[Header], limits: Limits, *, apply_sustain: bool = False
) -> Reading:
    """Reads the files that symusic reads correctly."""
    columns = _Columns(pedals=PedalColumns() if apply_sustain else None)
    left: list[int] = []
    errors: dict[int, MidiError] = {}
    appearances = byte_checks.look_at(files, TICK_LIMIT) if files else []
    for file, data in enumerate(files):
        try:
            if not _read(file, data, headers[file], appearances[file], columns):
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
            replaced[index] = track_reader.read_tempos(files[file], headers[file], limits)
        except MidiError as error:
            if is_read[index]:
                errors[file] = error
            is_read[index] = False
    ticks = _replace_tempos(ticks, replaced) if replaced else ticks
    rows = np.flatnonzero(is_read)
    ticks = ticks if len(rows) == len(ticks) else ticks.take(rows)
    return Reading(ticks, np.array(columns.files, np.int64)[rows], sorted(left), errors)


def _read(file: int, data: bytes, header: Header, appearance: Appearance, columns: _Columns) -> bool:
    """Adds the file to the columns; returns False if symusic might misread it.

    Raises:
      MidiError: `malformed`.
    """
    if appearance.has_odd_tempo or appearance.may_move_drums:
        return False
    if not all(data.endswith(END_OF_TRACK, *bounds) for bounds in header.tracks):
        return False
    note_ons = [_note_ons(appearance.statuses[begin:stop]) for begin, stop in header.tracks]
    num_tracks = len(header.tracks)
    num_parts = min(appearance.num_programs + sum(map(len, note_ons)), num_tracks * MAX_PARTS_OF_TRACK)
    if num_parts > MAX_PARTS:
        return False
    if len(appearance.suspects) and symusic_probe.begins_event(data, header, appearance.suspects):
        return False
    apply_sustain = columns.pedals is not None
    may_depend = num_tracks > 1 and (apply_sustain or appearance.may_set_programs)
    markers = Markers(pedals=apply_sustain, channels=may_depend)
    try:
        score = ScoreTick.from_midi(_with_sentinels(data, header, note_ons, markers))
    except (RuntimeError, ValueError) as error:
        raise MidiError("malformed", f"malformed MIDI: {error}") from error
    except MemoryError:
        return False
    if len(appearance.running_banks) and _selects_bank(data, header, note_ons, score, appearance):
        return False
    if may_depend and _depends_on_others(data, header, note_ons, score, appearance, apply_sustain=apply_sustain):
        return False
    tempos = score.tempos.numpy()
    microseconds = tempos["mspq"]
    num_tempos = int(np.count_nonzero(microseconds))
    if len(microseconds) - num_tempos != len(header.tracks):
        return False
    if appearance.may_be_late and byte_checks.sum_of_deltas(data, num_tempos=num_tempos) >= TICK_LIMIT:
        return False
    if columns.pedals is not None:
        for own, (begin, stop) in zip(note_ons, header.tracks, strict=True):
            if symusic_pedals.may_name_programs_twice(data[begin:stop], own):
                return False
        if tempos["time"][microseconds == 0].max() >= SENTINEL_TICKS or not columns.pedals.add(score, SENTINEL_TICKS):
            return False
    signatures = Signatures() if appearance.has_odd_signature else signature_events.of_score(score)
    columns.add(file, score, tempos, num_tempos, signatures)
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


def _depends_on_others(
    data: bytes,
    header: Header,
    note_ons: Sequence[bytes],
    score: ScoreTick,
    appearance: Appearance,
    *,
    apply_sustain: bool,
) -> bool:
    """Whether notes may take a program, or with `apply_sustain` a pedal, from another track of their channel.

    Only notes of program 0 can take a program from another track.
    """
    checks = []
    if appearance.may_set_programs:
        unnamed = [track for track in score.tracks if track.program == 0 and not track.is_drum]
        checks.append((symusic_probe.PROGRAMS, unnamed))
    if apply_sustain:
        checks.append((symusic_probe.CONTROLS, score.tracks))
    return any(
        symusic_probe.depends_on_others(
            data, header, note_ons, symusic_channels.players(tracks, SENTINEL_TICKS), statuses
        )
        for statuses, tracks in checks
    )


def _selects_bank(
    data: bytes, header: Header, note_ons: Sequence[bytes], score: ScoreTick, appearance: Appearance
) -> bool:
    """Whether a bank that moves the drums may be selected under a running status.

    symusic has the controls of channels with notes in the same track; for other channels the bytes are checked.
    """
    for track in score.tracks:
        events = track.controls
        if len(events):
            controls = events.numpy()
            numbers = controls["number"]
            if not numbers.all() and np.any(controls["value"][numbers == BANK] >= min(part_modes.GM2_BANKS)):
                return True
    if len(header.tracks) == 1:
        return False
    suspects, tracks_of_channels = appearance.running_banks, Counter(itertools.chain.from_iterable(note_ons))
    kept = []
    for own, (begin, stop) in zip(note_ons, header.tracks, strict=True):
        first, last = suspects.searchsorted((begin, stop)).tolist()
        if first < last:
            statuses = appearance.statuses[begin:stop].tobytes()
            if any(tracks_of_channels[on] > (on in own) and on + 0x20 in statuses for on in NOTE_ONS):
                kept.append(suspects[first:last])
    return bool(kept) and symusic_probe.begins_event(data, header, np.concatenate(kept))


def _note_ons(statuses: memoryview) -> bytes:
    """The note-on statuses that occur among those of a track."""
    return bytes(filter(statuses.tobytes().__contains__, NOTE_ONS))


def _with_sentinels(data: bytes, header: Header, note_ons: Sequence[bytes], markers: Markers) -> bytes:
    """The header and the tracks only, with sentinels; every track ends with an end-of-track event."""
    pieces = [HEADER.pack(b"MThd", HEADER.size - CHUNK.size, 1, len(header.tracks), header.division)]
    for number, ((begin, stop), statuses) in enumerate(zip(header.tracks, note_ons, strict=True)):
        events, sentinel = (
            data[begin : stop - len(END_OF_TRACK)],
            _sentinel(statuses, markers, number * markers.channels),
        )
        pieces += [CHUNK.pack(b"MTrk", len(events) + len(sentinel)), events, sentinel]
    return b"".join(pieces)


@functools.lru_cache(maxsize=2048)
def _sentinel(note_ons: bytes, markers: Markers, track: int) -> bytes:
    """The sentinel for the channels of these note-on statuses; unused channels do no harm."""
    parts = [*map(_all_ends, note_ons)]
    if markers.pedals:
        parts += map(symusic_pedals.marker, note_ons)
    if markers.channels:
        parts += (symusic_channels.marker(track, status & 0x0F) for status in note_ons)
    return SENTINEL_TEMPO + SENTINEL_DELTA + (b"".join(parts) + b"\x00")[1:] + END_OF_TRACK


@functools.cache
def _all_ends(note_on: int) -> bytes:
    """The ends of all keys of a channel, each after a delta of 0, under one running status."""
    first, *others = (bytes([0, pitch, 0]) for pitch in range(128))
    return b"".join([first[:1], bytes([note_on - 0x10]), first[1:], *others])
