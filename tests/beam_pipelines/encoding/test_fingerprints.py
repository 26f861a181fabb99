"""Fingerprints: what leaves them as they are, what leaves them alike, what has none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from beam_pipelines.encoding import fingerprints
from beam_pipelines.encoding.fingerprints import NUM_VALUES
from beam_pipelines.planning import near_duplicates
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, MILLISECONDS, Notes

UNITS = {MILLISECONDS: 10, BEATS: 1}  # ticks of the shortest step in made music


def make_music(number: int, *, num_chords: int = 300, time_base: str = MILLISECONDS) -> Notes:
    """A wandering melody over chords of three, a piece of its own for each number."""
    rng = np.random.default_rng(number)
    starts = np.cumsum(rng.choice([12, 24, 24, 48], num_chords)) * UNITS[time_base]
    melody = np.clip(72 + np.cumsum(rng.integers(-5, 6, num_chords)) % 24, 60, 100)
    bass = 36 + rng.integers(0, 16, num_chords)
    pitch = np.concatenate([melody, bass, (melody + bass) // 2])
    return from_columns(pitch=pitch, start=np.tile(starts, 3), time_base=time_base)


def from_columns(*, pitch, start, program=0, time_base: str = MILLISECONDS) -> Notes:
    num = len(pitch)
    return Notes.from_columns(
        pitch=np.asarray(pitch),
        velocity=np.full(num, 80),
        start=np.asarray(start),
        duration=np.full(num, 100),
        program=np.broadcast_to(program, num),
        time_base=time_base,
    )


def change(notes: Notes, **columns) -> Notes:
    """With other columns, in the total order again."""
    fields = {name: getattr(notes, name) for name in ("pitch", "velocity", "start", "duration", "program")}
    return Notes.from_columns(**{**fields, **columns}, tempo=notes.tempo, time_base=notes.time_base)


def stretch(notes: Notes, factor: float) -> Notes:
    return change(notes, start=np.rint(notes.start * factor).astype(int))


def with_noise(notes: Notes, milliseconds: float) -> Notes:
    noise = np.random.default_rng(7).normal(0, milliseconds, len(notes)) / (notes.seconds_per_tick * 1000)
    return change(notes, start=np.maximum(np.rint(notes.start + noise), 0).astype(int))


def without_every_20th(notes: Notes) -> Notes:
    return notes.take(np.flatnonzero(np.arange(len(notes)) % 20))


def of(*pieces: Notes) -> np.ndarray:
    return fingerprints.of_batch(NoteBatch.from_notes(pieces, pieces[0].time_base))


def agreement(one: Notes, other: Notes) -> float:
    rows = of(one, other)
    assert rows.any(axis=1).all()
    return float((rows[0] == rows[1]).mean())


def are_same(one: Notes, other: Notes) -> bool:
    rows = of(one, other)
    return bool(near_duplicates.are_same(rows[:1], rows[1:])[0])


SHUFFLED = np.random.default_rng(3).permutation(900)
UNCHANGED = {
    "transposed": lambda notes: change(notes, pitch=notes.pitch + 6),
    "an octave lower": lambda notes: change(notes, pitch=notes.pitch - 12),
    "twice as slow": lambda notes: stretch(notes, 2),
    "later": lambda notes: change(notes, start=notes.start + 12_345),
    "other programs": lambda notes: change(notes, program=np.arange(900) % 3),
    "other velocities and durations": lambda notes: change(notes, velocity=SHUFFLED % 127 + 1, duration=SHUFFLED),
    "other tempo": lambda notes: dataclasses.replace(notes, tempo=77.0),
    "without inner voices": lambda notes: notes.take(np.flatnonzero(np.arange(900) % 3 != 1)),
    "with drums": lambda notes: change(
        notes,
        **{name: np.tile(getattr(notes, name), 2) for name in ("pitch", "velocity", "start", "duration")},
        program=np.repeat([0, DRUM_PROGRAM], 900),
    ),
}


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
@pytest.mark.parametrize("name", UNCHANGED)
def test_same_row(name, time_base):
    notes = make_music(1, time_base=time_base)
    rows = of(notes, UNCHANGED[name](notes))
    assert np.count_nonzero(rows[0]) > 100
    assert rows[0].tolist() == rows[1].tolist()


def test_notes_of_a_chord_in_any_order():
    notes = make_music(1)
    rolled = change(notes, start=notes.start + SHUFFLED % 3 * 5)
    assert np.any(np.diff(rolled.start) == 5)
    assert agreement(notes, rolled) > 0.95  # first onsets move, and with them a few halves become longer


def plain_row(notes: Notes) -> list[int]:
    """The fingerprint of a piece, chord by chord."""
    outer, starts = plain_chords(notes)
    bins: dict[int, int] = {}
    for pitches in outer:
        features = [plain_feature(pitches[at : at + 7], starts[at : at + 7]) for at in range(len(starts) - 6)]
        if notes.program[0] == DRUM_PROGRAM:
            pairs = zip(features, features[3:], strict=False)
            features = [(mix(one[0] * 0x9E3779B1 % 2**32 ^ two[0]), one[1] or two[1]) for one, two in pairs]
        for value in (value for value, is_counted in features if is_counted):
            bins[value % 128] = min(value // 128, bins.get(value % 128, 2**32))
    return [max(1, bins[place] * 0x9E3779B1 % 2**32 >> 16) if place in bins else 0 for place in range(128)]


def plain_chords(notes: Notes) -> tuple[list[list[int]], list[int]]:
    """Two lines of pitches, and when their chords start."""
    gaps = np.diff(notes.start).astype(float)
    close = int(0.2 * (gaps**2).sum() / gaps.sum())
    assert 25 < close < 100
    begins = [0, *(np.flatnonzero(gaps > close) + 1)]
    chords = [notes.pitch[begin:end].tolist() for begin, end in zip(begins, [*begins[1:], len(notes)], strict=True)]
    starts = notes.start[begins].tolist()
    if notes.program[0] == DRUM_PROGRAM:
        return [[5 * max(chord) + 11 * min(chord) for chord in chords]], starts
    return [[max(chord) for chord in chords], [min(chord) for chord in chords]], starts


def plain_feature(pitches: list[int], starts: list[int]) -> tuple[int, bool]:
    intervals = [(later - earlier) % 32 for earlier, later in zip(pitches, pitches[1:], strict=False)]
    first, second = starts[3] - starts[0], starts[6] - starts[3]
    feature = sum(interval * 32 ** (5 - place) for place, interval in enumerate(intervals))
    feature += (second > 1.7 * first) * 2**30 + (first > 1.7 * second) * 2**31
    return mix(feature), intervals[:4] != intervals[2:]


def mix(value: int) -> int:
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        value = (value ^ value >> shift) * factor % 2**32
    return value


@pytest.mark.parametrize("make", [lambda: make_music(1), lambda: make_tremolo(1), lambda: make_drums(1)])
def test_row_by_definition(make):
    notes = make()
    rows = of(notes)
    assert (rows.dtype, rows.shape) == (np.uint16, (1, 128))
    assert rows[0].tolist() == plain_row(notes)


def make_tremolo(number: int) -> Notes:
    """Two pitches in turns, now these, now others."""
    rng = np.random.default_rng(number)
    pitch = np.concatenate([np.tile(rng.integers(30, 100, 2), rng.integers(3, 7)) for _ in range(100)])
    return from_columns(pitch=pitch, start=np.arange(len(pitch)) * 150)


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize(
    "changed",
    [
        lambda notes: stretch(notes, 0.53),
        lambda notes: stretch(notes, 1.87),
        lambda notes: with_noise(notes, 10),
        without_every_20th,
        lambda notes: UNCHANGED["transposed"](without_every_20th(with_noise(stretch(notes, 1.2), 10))),
    ],
)
def test_alike(number, changed, time_base):
    notes = make_music(number, time_base=time_base)
    assert are_same(notes, changed(notes))


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
def test_other_music_is_not_alike(time_base):
    rows = of(*(make_music(number, time_base=time_base) for number in range(40)))
    agreeing = [(one == other).mean() for place, one in enumerate(rows) for other in rows[:place]]
    assert max(agreeing) < 0.05


def test_rhythm_counts():
    """The same pitches in even steps, and with every other three steps twelve times as long."""
    pitch = make_music(1).pitch[::3]
    even = from_columns(pitch=pitch, start=np.arange(300) * 200)
    uneven = from_columns(pitch=pitch, start=np.cumsum(np.where(np.arange(300) // 3 % 2, 2400, 200)))
    assert agreement(even, uneven) < 0.05


@pytest.mark.parametrize(
    "pitch",
    [
        np.full(2000, 60),
        60 + np.arange(2000) % 2 * 12,
        36 + np.arange(2000) % 60,
        60 + np.array([0, 2, 4, 5, 7, 9, 11])[np.arange(2000) % 7],
        np.tile([60, 64, 67, 64], 500),
    ],
    ids=["one note", "octaves", "chromatic scale", "scales", "broken chord"],
)
@pytest.mark.parametrize("program", [0, DRUM_PROGRAM])
def test_simple_music_has_no_fingerprint(pitch, program):
    assert not of(from_columns(pitch=pitch, start=np.arange(2000) * 200, program=program)).any()


def test_short_music_has_no_fingerprint(monkeypatch):
    batch = NoteBatch.from_notes([make_music(1, num_chords=number) for number in range(1, 60)], MILLISECONDS)
    has_fingerprint = fingerprints.of_batch(batch).any(axis=1)
    monkeypatch.setattr(fingerprints, "MIN_FILLED", 0)
    num_filled = np.count_nonzero(fingerprints.of_batch(batch), axis=1)
    assert num_filled[:6].max() == 0 < num_filled[6]
    assert has_fingerprint.tolist() == (num_filled >= 32).tolist()
    assert 0 < has_fingerprint.sum() < len(has_fingerprint)


def test_no_notes_and_no_pieces():
    empty = from_columns(pitch=np.zeros(0, int), start=np.zeros(0, int))
    assert of(empty).tolist() == [[0] * NUM_VALUES]
    assert fingerprints.of_batch(NoteBatch.from_notes([], MILLISECONDS)).shape == (0, NUM_VALUES)
    rows = of(empty, make_music(1), empty, make_music(2), empty)
    assert rows[[0, 2, 4]].max() == 0
    assert np.array_equal(rows[[1, 3]], of(make_music(1), make_music(2)))


def make_drums(number: int, *, num_strokes: int = 600) -> Notes:
    rng = np.random.default_rng(number)
    pitch = rng.choice([36, 38, 42, 46, 49], num_strokes)
    return from_columns(pitch=pitch, start=np.cumsum(rng.choice([0, 120, 240], num_strokes)), program=DRUM_PROGRAM)


def test_drums_alone():
    one, other = make_drums(1), make_drums(2)
    assert agreement(one, stretch(one, 1.5)) == 1.0
    assert are_same(one, with_noise(one, 5))
    assert agreement(one, other) < 0.1


@pytest.mark.parametrize("notes_at_once", [1, 1000, 1 << 16])
def test_a_row_depends_on_its_piece_alone(monkeypatch, notes_at_once):
    monkeypatch.setattr(fingerprints, "_NOTES_AT_ONCE", notes_at_once)
    pieces = [make_music(1), make_drums(1), make_music(2, num_chords=3), make_drums(2, num_strokes=8), make_music(3)]
    together = of(*pieces)
    assert np.array_equal(together, np.concatenate([of(piece) for piece in pieces]))
    assert np.array_equal(together[::-1], of(*pieces[::-1]))
