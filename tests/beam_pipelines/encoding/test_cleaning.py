"""Rules one by one on pieces small enough to count by hand, and all of them against a slow reading."""

import numpy as np
import pytest

from beam_pipelines.encoding import piece_measures
from beam_pipelines.encoding.cleaning import CleaningRules, clean
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes

DRUMS = 128


def piece(*rows: tuple[int, ...], tempo: float = 120.0, time_base: str = MILLISECONDS) -> Notes:
    """Rows of start, duration, pitch, program, velocity; the last two are 0 and 64 where left out."""
    filled = [(*row, *(0, 64)[len(row) - 3 :]) for row in rows]
    start, duration, pitch, program, velocity = np.array(filled, np.int64).reshape(-1, 5).T
    return Notes.from_columns(
        pitch=pitch,
        velocity=velocity,
        start=start,
        duration=duration,
        program=program,
        tempo=tempo,
        time_base=time_base,
    )


def batch_of(*pieces: Notes) -> NoteBatch:
    return NoteBatch.from_notes(pieces, pieces[0].time_base if pieces else MILLISECONDS)


def pieces_of(batch: NoteBatch) -> list[Notes]:
    return [batch.piece(index) for index in range(len(batch))]


def drops(*pieces: Notes, **rules) -> list[tuple[int, str, str]]:
    return clean(batch_of(*pieces), CleaningRules(**rules)).drops


LONG = piece((0, 1000, 60), (1000, 1000, 64), (9000, 1000, 67))  # 10 s, 3 notes, 7 s of silence
SHORT = piece((500, 100, 60), (500, 100, 64))  # 0.1 s
BAND = piece((0, 500, 60, 0), (0, 500, 36, DRUMS), (500, 500, 48, 33), (500, 500, 36, DRUMS))
DRUM_SOLO = piece((0, 100, 36, DRUMS), (100, 100, 38, DRUMS))


def test_with_everything_off_the_batch_itself_comes_back():
    batch = batch_of(LONG, SHORT)
    cleaned = clean(batch, CleaningRules(sustain_pedal="apply"))
    assert cleaned.batch is batch
    assert (cleaned.rows.tolist(), cleaned.drops) == ([0, 1], [])


def test_a_batch_without_pieces():
    cleaned = clean(batch_of(), CleaningRules(min_notes=5, drum_policy="drop"))
    assert (len(cleaned.batch), cleaned.rows.tolist(), cleaned.drops) == (0, [], [])


def test_kept_pieces_stay_as_they_are_and_rows_say_which():
    cleaned = clean(batch_of(SHORT, LONG, SHORT, BAND), CleaningRules(min_notes=3))
    assert cleaned.rows.tolist() == [1, 3]
    assert pieces_of(cleaned.batch) == [LONG, BAND]
    drop = ("too_few_notes", "has 2 notes, want at least 3 (--min-notes)")
    assert cleaned.drops == [(0, *drop), (2, *drop)]


@pytest.mark.parametrize(
    ("rules", "reason", "message"),
    [
        ({"min_notes": 4}, "too_few_notes", "has 3 notes, want at least 4 (--min-notes)"),
        ({"min_seconds": 10.001}, "too_short", "lasts 10 s, want at least 10.001 s (--min-seconds)"),
        ({"min_density": 0.31}, "too_sparse", "has 0.3 notes per second, want at least 0.31 (--min-density)"),
        ({"max_density": 0.29}, "too_dense", "has 0.3 notes per second, want at most 0.29 (--max-density)"),
        ({"max_silence": 6.9}, "long_silence", "has a silence of 7 s, want at most 6.9 s (--max-silence)"),
        ({"pitch_range": (61, 70)}, "pitch_out_of_range", "has pitches from 60 to 67, want 61 to 70 (--pitch-range)"),
        ({"pitch_range": (60, 66)}, "pitch_out_of_range", "has pitches from 60 to 67, want 60 to 66 (--pitch-range)"),
    ],
)
def test_a_rule_drops_what_breaks_it(rules, reason, message):
    assert drops(LONG, **rules) == [(0, reason, message)]


def test_rules_keep_what_just_meets_them():
    rules = {"min_notes": 3, "min_seconds": 10, "min_density": 0.3, "max_density": 0.3, "max_silence": 7}
    assert drops(LONG, pitch_range=(60, 67), max_polyphony=1, **rules) == []


def test_the_first_rule_is_the_reason_and_the_message_names_all():
    assert drops(LONG, SHORT, min_notes=3, min_seconds=5.0, max_density=10.0) == [
        (
            1,
            "too_few_notes",
            "has 2 notes, want at least 3 (--min-notes); lasts 0.1 s, want at least 5 s (--min-seconds); "
            "has 20 notes per second, want at most 10 (--max-density)",
        )
    ]


def test_notes_all_at_once_without_length_are_as_dense_as_can_be():
    flash = piece((5, 0, 60), (5, 0, 64))
    assert drops(flash, min_density=3.0) == []
    assert [reason for _, reason, _ in drops(flash, max_density=1e9)] == ["too_dense"]


def test_seconds_of_beats_follow_the_tempo():
    slow, fast = (piece((0, 24, 60), (96, 24, 62), tempo=tempo, time_base=BEATS) for tempo in (60.0, 120.0))
    batch = batch_of(slow, fast)  # 5 beats, of which 3 are silent
    assert piece_measures.longest_silence(batch).tolist() == [3.0, 1.5]
    assert [row for row, _, _ in clean(batch, CleaningRules(max_silence=2.0)).drops] == [0]
    assert [row for row, _, _ in clean(batch, CleaningRules(min_seconds=4.0)).drops] == [1]


def test_silence_begins_when_the_last_sounding_note_ends():
    held = piece((0, 5000, 40), (100, 100, 60), (6000, 100, 60))
    late = piece((90_000, 100, 60))  # the silence before the first note is no part of a piece
    assert piece_measures.longest_silence(batch_of(held, late)).tolist() == [1.0, 0.0]


def test_polyphony_counts_what_sounds_at_one_time():
    legato = piece((0, 100, 60), (100, 100, 62), (200, 100, 64))  # an end and an onset of one tick do not meet
    chord = piece((0, 100, 60), (0, 100, 62), (50, 500, 64), (99, 1, 65), (100, 1, 66))
    flash = piece((7, 0, 60), (7, 0, 62), (8, 10, 62))
    assert piece_measures.polyphony(batch_of(legato, chord, flash)).tolist() == [1, 4, 2]
    assert drops(legato, chord, max_polyphony=3) == [
        (1, "too_polyphonic", "has 4 notes at once, want at most 3 (--max-polyphony)")
    ]


def test_pitches_of_drums_do_not_count():
    assert drops(BAND, DRUM_SOLO, pitch_range=(48, 60)) == []


# ---------------------------------------------------------------------------------------------- policies


def test_drums_dropped():
    cleaned = clean(batch_of(BAND, LONG, DRUM_SOLO), CleaningRules(drum_policy="drop"))
    assert pieces_of(cleaned.batch) == [piece((0, 500, 60, 0), (500, 500, 48, 33)), LONG]
    assert cleaned.drops == [(2, "no_notes_left", "none of 2 notes is left after --drum-policy, want at least 1")]


def test_drums_only():
    cleaned = clean(batch_of(BAND, LONG, DRUM_SOLO), CleaningRules(drum_policy="only"))
    assert pieces_of(cleaned.batch) == [piece((0, 500, 36, DRUMS), (500, 500, 36, DRUMS)), DRUM_SOLO]
    assert cleaned.rows.tolist() == [0, 2]
    assert cleaned.drops[0][:2] == (1, "no_notes_left")


def test_drums_rejected():
    assert drops(LONG, BAND, drum_policy="reject") == [(1, "has_drums", "has 2 drum notes, want none (--drum-policy)")]


def test_notes_of_other_programs_are_dropped_and_drums_are_not():
    cleaned = clean(batch_of(BAND, piece((0, 9, 60, 40))), CleaningRules(programs=tuple(range(8))))
    assert pieces_of(cleaned.batch) == [piece((0, 500, 60, 0), (0, 500, 36, DRUMS), (500, 500, 36, DRUMS))]
    assert cleaned.drops == [(1, "no_notes_left", "none of 1 notes is left after --programs, want at least 1")]


def test_pieces_with_other_programs_are_rejected():
    mixed = piece((0, 9, 60, 0), (1, 9, 60, 40), (2, 9, 60, 24), (3, 9, 60, 40))
    assert drops(LONG, mixed, BAND, programs=(0, 33), other_programs="reject") == [
        (1, "other_programs", "has 3 notes of other programs (24, 40), want only those of --programs")
    ]


def test_rules_count_what_the_policies_left():
    assert drops(BAND, drum_policy="drop", min_notes=3) == [
        (0, "too_few_notes", "has 2 notes, want at least 3 (--min-notes)")
    ]


def test_rules_count_beside_a_piece_that_was_emptied():
    got = drops(LONG, DRUM_SOLO, SHORT, drum_policy="drop", min_notes=3, max_silence=8.0)
    assert [(row, reason) for row, reason, _ in got] == [(1, "no_notes_left"), (2, "too_few_notes")]


def test_merged_programs_meet_in_one_note_as_long_and_as_loud_as_any():
    doubled = piece((0, 300, 60, 40, 50), (0, 100, 60, 73, 90), (0, 100, 60, DRUMS, 9), (0, 100, 64, 48), (9, 1, 60, 5))
    cleaned = clean(batch_of(SHORT, doubled), CleaningRules(program_policy="merge"))
    want = piece((0, 300, 60, 0, 90), (0, 100, 60, DRUMS, 9), (0, 100, 64, 0), (9, 1, 60, 0))
    assert pieces_of(cleaned.batch) == [SHORT, want]


def test_families_keep_instruments_apart():
    notes = piece((0, 10, 60, 40), (0, 10, 60, 47), (0, 10, 60, 48), (0, 10, 60, 127), (5, 10, 60, DRUMS))
    cleaned = clean(batch_of(notes), CleaningRules(program_policy="family"))
    want = piece((0, 10, 60, 40), (0, 10, 60, 48), (0, 10, 60, 120), (5, 10, 60, DRUMS))
    assert pieces_of(cleaned.batch) == [want]


def test_merging_does_not_reach_over_the_border_of_two_pieces():
    same = piece((0, 10, 60, 3)), piece((0, 20, 60, 4))
    cleaned = clean(batch_of(*same), CleaningRules(program_policy="merge"))
    assert pieces_of(cleaned.batch) == [piece((0, 10, 60)), piece((0, 20, 60))]


# ------------------------------------------------------------------------------------------ at random


def random_piece(rng: np.random.Generator) -> Notes:
    n = int(rng.integers(1, 30))
    return Notes.from_columns(
        pitch=rng.integers(50, 60, n),
        velocity=rng.integers(1, 128, n),
        start=rng.integers(0, 40, n),
        duration=rng.integers(0, 9, n),
        program=rng.choice([0, 1, 40, DRUMS], n),
    )


@pytest.mark.parametrize("policy", ["keep", "merge", "family"])
def test_the_total_order_holds_and_no_piece_depends_on_its_neighbours(policy):
    rng = np.random.default_rng(7)
    pieces = [random_piece(rng) for _ in range(60)]
    rules = CleaningRules(program_policy=policy, drum_policy="drop", max_polyphony=5, max_silence=0.01, min_notes=4)
    together = clean(batch_of(*pieces), rules)
    alone = [clean(batch_of(notes), rules) for notes in pieces]
    assert 5 < len(together.batch) < 50
    assert together.rows.tolist() == [row for row, each in enumerate(alone) if len(each.batch)]
    assert pieces_of(together.batch) == [notes for each in alone for notes in pieces_of(each.batch)]
    assert together.drops == [(row, *drop[1:]) for row, each in enumerate(alone) for drop in each.drops]
    for notes in pieces_of(together.batch):
        columns = {name: getattr(notes, name) for name in ("pitch", "velocity", "start", "duration", "program")}
        assert Notes.from_columns(**columns) == notes


def test_measures_agree_with_counting_tick_by_tick():
    rng = np.random.default_rng(11)
    pieces = [random_piece(rng) for _ in range(40)]
    batch = batch_of(*pieces)
    voices, silences = [], []
    for notes in pieces:
        sounding = [int(((notes.start <= t) & (t < np.maximum(notes.end, notes.start + 1))).sum()) for t in range(60)]
        voices.append(max(sounding))
        longest = current = 0
        for t in range(int(notes.start[0]), int(notes.end.max())):
            is_held = bool(((notes.start <= t) & (t < notes.end)).any())
            current = 0 if is_held or (notes.start == t).any() else current  # a note of no length breaks a silence
            current += not is_held
            longest = max(longest, current)
        silences.append(longest / 1000)
    assert piece_measures.polyphony(batch).tolist() == voices
    assert piece_measures.longest_silence(batch).tolist() == silences
