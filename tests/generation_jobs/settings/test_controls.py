import dataclasses

import numpy as np
import pytest

from generation_jobs.settings.controls import (
    Allowed,
    Controls,
    columns,
    control_problems,
    ticks,
)
from generation_jobs.settings.requests import Settings
from job_runtime.command_line.settings import problems_with
from midi_codec.fields import MSE
from midi_codec.music.notes import BEATS, MILLISECONDS
from tests.trainer.tiny import make_notes, make_table

TABLE = make_table(programs=(0, 40))  # steps up to 30 ms, durations up to 60, pitches 60, 62, 65


def test_ticks():
    assert ticks("0.25 beats", BEATS, 90.0, up=False) == 6  # of 24 per beat, whatever the tempo
    assert ticks("0.5 seconds", BEATS, 120.0, up=False) == 24
    assert ticks("0.25 beats", MILLISECONDS, 60.0, up=True) == 250
    assert (ticks("0.0101 s", MILLISECONDS, 120.0, up=True), ticks("0.0109 s", MILLISECONDS, 120.0, up=False)) == (
        11,
        10,
    )


def test_what_is_allowed():
    controls = Controls(min_pitch=61, pitch_classes=[2, 0], programs=[40], min_step="0.003 s", max_duration="0.02 s")
    allowed = Allowed.from_controls(controls, TABLE)
    assert allowed.pitch.tolist() == [False, True, False]
    assert allowed.program is not None and allowed.program.tolist() == [False, True]
    assert (allowed.step, allowed.duration) == ((3, 30), (0, 20))
    arrays = columns([controls, Controls()], [120.0, 120.0], TABLE)
    assert (arrays["pitch_mask"] == 0).sum(axis=1).tolist() == [1, 3]
    assert arrays["highest_program"].tolist() == [1, 1]
    assert arrays["highest_pitch"].tolist() == [1, 2] and arrays["step_limits"].tolist() == [[3, 30], [0, 30]]


@pytest.mark.parametrize(
    ("controls", "part"),
    [
        (Controls(min_pitch=66), "min_pitch, max_pitch and pitch_classes leave no pitch"),
        (Controls(programs=[0, 7]), "programs has 7, which the model does not know; it knows 0, 40"),
        (Controls(min_step="0.02 s", max_step="0.01 s"), "min_step and max_step leave no step to draw"),
        (Controls(min_duration="1 s"), "min_duration leave no duration to draw"),
        (Controls(max_step="0.0001 s"), "less than a tick"),
        (Controls(max_polyphony=2, min_duration="0.04 s"), "so max_polyphony cannot be kept"),
    ],
)
def test_what_cannot_be_kept(controls, part):
    (problem,) = control_problems(controls, TABLE)
    assert part in problem


def test_a_primer_that_hangs_on():
    primer = dataclasses.replace(make_notes(1, num_notes=3), duration=np.full(3, 60, np.int32))
    assert list(control_problems(Controls(max_polyphony=4), TABLE, primer)) == []
    (problem,) = control_problems(Controls(max_polyphony=1), TABLE, primer)
    assert problem.startswith("max_polyphony is 1, but the primer's notes keep sounding")


def test_times_that_are_numbers_cannot_be_limited():
    found = list(control_problems(Controls(max_step="0.01 s"), make_table(timing_loss=MSE)))
    assert len(found) == 1 and "want a model trained with --timing-loss categorical" in found[0]
    assert list(control_problems(Controls(min_pitch=60), make_table(timing_loss=MSE))) == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (
            {"temperature": {"pich": 1}},
            "temperature is {'pich': 1}, want a number, 0 (greedy) or 0.001 to 1000, or such",
        ),
        ({"pitch_classes": "H major"}, "pitch_classes is 'H major', want a key such as"),
        ({"programs": []}, "programs is [], want a list of programs"),
        ({"min_step": 0.5}, "min_step is 0.5, want a time such as"),
    ],
)
def test_settings_that_are_wrong(value, problem):
    (found,) = problems_with(Settings, value)
    assert found.startswith(problem)


def test_settings_are_sampling_and_controls():
    settings = Settings().override({"temperature": {"pitch": 1}, "min_p": 1, "programs": [0], "max_notes": 5})
    assert settings.sampling.temperature == {"pitch": 1.0} and settings.sampling.min_p == 1.0
    assert list(problems_with(Settings, {"min_p": 0})) == []  # the way to say none where there is a default
    assert settings.controls == Controls(programs=[0]) and not settings.controls.is_free
    assert Settings().controls.is_free
