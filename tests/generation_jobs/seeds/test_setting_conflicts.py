import dataclasses

import numpy as np

from generation_jobs.seeds import setting_conflicts
from generation_jobs.seeds.primers import Primers
from generation_jobs.seeds.seed_record import Seed
from generation_jobs.settings.requests import Settings
from midi_codec.fields import MSE
from midi_codec.music.notes import BEATS, COLUMN_DTYPES
from tests.trainer.tiny import COMPOSER, LIVE, make_notes, make_table

TABLE = make_table()  # steps up to 30 ticks, durations up to 60, pitches 60, 62, 65
NO_PITCH = "min_pitch, max_pitch and pitch_classes leave no pitch that the model can draw"


def find(settings, *overrides, primers=None, tempos=None, table=TABLE, line=1):
    seeds = [Seed(id=f"s{i}", line=i + line if line else 0, overrides=given) for i, given in enumerate(overrides)]
    given = primers or [None] * len(seeds)
    columns = [notes and {name: getattr(notes, name) for name in COLUMN_DTYPES} for notes in given]
    found = Primers(columns, tempos or [120.0] * len(seeds), table.time_base)
    return setting_conflicts.find(settings, seeds, found, table)


def test_seeds_without_conflicts():
    assert find(Settings(min_pitch=60), {}, {"max_polyphony": 2}, {"temperature": {"pitch": 0.5}}) == ([], [])


def test_conflicts_of_flags_are_reported_once_and_those_of_seeds_by_line():
    flags, seeds = find(Settings(min_pitch=66), {}, {"top_k": 3}, {"min_pitch": 60, "programs": [7]}, {})
    assert flags == [NO_PITCH]
    assert seeds == [(3, "programs has 7, which the model does not know; it knows 0")]


def test_equal_overrides_are_reported_for_every_seed():
    _, seeds = find(Settings(), {"min_pitch": 66}, {"min_pitch": 60}, {"min_pitch": 66, "top_k": 3})
    assert seeds == [(1, NO_PITCH), (3, NO_PITCH)]


def test_flags_that_every_seed_overrides_are_no_problem():
    assert find(Settings(min_pitch=66), {"min_pitch": 60}, {"min_pitch": None}) == ([], [])
    assert find(Settings(min_pitch=66)) == ([NO_PITCH], [])  # of seeds nothing is known


def test_a_field_that_the_bundle_does_not_have():
    wrong = "temperature names 'program', a field the model does not have; it has step, pitch, duration, velocity"
    flags, seeds = find(Settings(temperature={"program": 1.0}), {}, {"temperature": 1}, {"top_k": {"program": 3}})
    assert flags == [wrong]
    assert seeds == [(3, wrong.replace("temperature", "top_k"))]


def test_likeliest_values_of_a_field_that_is_a_number():
    table = make_table(timing_loss=MSE)
    assert find(Settings(top_k=3, temperature={"step": 0.5}, top_p={"pitch": 0.9}), {}, table=table) == ([], [])
    (problem,) = setting_conflicts.of_settings(Settings(top_k={"pitch": 3, "step": 3}), table)
    assert problem.startswith("top_k names 'step', which the model predicts as a number, not a class")


def test_the_tempo_of_the_primer_counts():
    """30 ticks of the beats grid are 1.25 beats: 0.625 seconds at 120 quarter notes per minute, 1.25 at 60."""
    table = dataclasses.replace(TABLE, time_base=BEATS)
    notes = dataclasses.replace(make_notes(1, num_notes=3), time_base=BEATS)
    tempos = [120.0, 60.0]
    flags, seeds = find(Settings(min_step="1 second"), {}, {}, primers=[notes, notes], tempos=tempos, table=table)
    assert len(flags) == 1 and "leave no step to draw" in flags[0] and "0.625 seconds" in flags[0]
    assert seeds == []
    settings = Settings(min_step="1 second")
    assert find(settings, {}, primers=[notes], tempos=[60.0], table=table) == ([], [])
    _, seeds = find(
        Settings(), {"min_step": "1 s"}, {"min_step": "1 s"}, primers=[notes] * 2, tempos=tempos, table=table
    )
    assert [line for line, _ in seeds] == [1]


def test_a_primer_that_sounds_longer_than_any_step():
    hanging = dataclasses.replace(make_notes(1, num_notes=3), duration=np.full(3, 60, np.int32))
    _, seeds = find(Settings(max_polyphony=1), {}, {"max_polyphony": None}, {}, primers=[hanging, hanging, None])
    assert [(line, text.partition(",")[0]) for line, text in seeds] == [(1, "max_polyphony is 1")]


def test_a_primer_that_is_longer_than_the_piece_may_be():
    notes = dataclasses.replace(make_notes(1, num_notes=3), start=np.array([0, 100, 2000], np.int32))
    flags, seeds = find(Settings(max_seconds=1.5), {}, {"max_seconds": 2}, {"max_seconds": None}, primers=[notes] * 3)
    want = (
        "max_seconds is 1.5, counted from the primer's first onset, but its last is at 2 seconds: no note could follow"
    )
    assert flags == [] and seeds == [(1, want)]
    _, seeds = find(Settings(max_seconds=1.5), {}, primers=[notes], line=0)  # a folder has no lines
    assert seeds[0][0] == 0 and seeds[0][1].startswith("seed 's0': max_seconds is 1.5")


LABELLED = dataclasses.replace(TABLE, labels=(COMPOSER, LIVE))


def test_labels_that_the_model_does_not_know():
    assert find(
        Settings(label={"composer": "Bach"}), {"label": {"composer": {"unknown": 1, "Mozart": 2}}}, table=LABELLED
    ) == ([], [])
    flags, seeds = find(Settings(label={"mood": "sad"}), {}, {"label": {"composer": "Haydn"}}, table=LABELLED)
    assert flags == ["label names 'mood', which this model does not know; it knows composer, live"]
    assert seeds == [(2, "label has composer 'Haydn', which this model does not know; it knows 'Bach', 'Mozart'")]
    (problem,) = setting_conflicts.of_settings(Settings(label={"composer": "Bach"}), TABLE)
    assert problem.endswith("it knows no labels: want a bundle trained with --condition-on")


def test_guidance_needs_a_label_and_classes():
    flags, seeds = find(Settings(guidance=2.0), {"label": {"live": "yes"}}, {}, table=LABELLED)
    assert flags == ["guidance is 2, which strengthens a label, and there is no label"] and seeds == []
    assert find(Settings(guidance=2.0), {"label": {"live": "yes"}}, table=LABELLED) == ([], [])
    unknown = {"composer": {"unknown": 1}, "live": "unknown"}
    flags, seeds = find(
        Settings(guidance=2.0), {"label": {**unknown, "live": "yes"}}, {"label": unknown}, table=LABELLED
    )
    assert flags == [] and seeds == [(2, "guidance is 2, which strengthens a label, and there is none but unknown")]
    assert find(Settings(guidance=2.0), {"label": unknown, "guidance": None}, table=LABELLED) == ([], [])
    numbers = dataclasses.replace(make_table(timing_loss=MSE), labels=(LIVE,))
    settings = Settings(label={"live": "yes"}, guidance=2.0)
    assert list(setting_conflicts.of_settings(settings, numbers)) == [
        "guidance needs classes: want a model trained with --timing-loss categorical"
    ]
