"""What pieces are rewarded with, and which names of rewards there are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from job_runtime.problem_report import UserError
from midi_codec.measures.music_measures import Part, measures
from midi_codec.measures.thresholds import Screen
from midi_codec.music.notes import MILLISECONDS, Notes
from trainer.finetuning import rewards
from trainer.finetuning.rewards import TAIL_SHARE, LikeCorpus

KEY_SHARE = next(measure for measure in measures(MILLISECONDS) if measure.name == "key_share")
SCREEN = Screen({"longest_repeat": 3.0}, MILLISECONDS, "d")


def make_part(*pitches: int) -> Part:
    size = len(pitches)
    return Part(
        Notes.from_columns(
            start=np.arange(size) * 100,
            pitch=np.array(pitches),
            duration=np.full(size, 50),
            velocity=np.full(size, 80),
            program=np.zeros(size, np.int64),
        )
    )


IN_KEY, HALF, DRUMS = make_part(60, 62, 64, 65), make_part(60, 61, 62, 63, 64, 66), Part(Notes.empty(MILLISECONDS))


def test_a_piece_that_passes_the_screen_is_worth_one():
    made = rewards.make(["screening"], screen=SCREEN, corpus=[], time_base=MILLISECONDS)
    assert made["screening"]([make_part(60, 60, 60, 62), make_part(60, 60, 60, 60)]).tolist() == [1.0, 0.0]


def test_a_measure_rewards_what_the_corpus_has_more_often():
    """Two figures far apart: each density is the share of its pieces, and the uniform tail."""
    reward = LikeCorpus(KEY_SHARE, [IN_KEY] * 3 + [HALF])
    low, high = (KEY_SHARE.piece_figure(part) for part in (HALF, IN_KEY))
    assert (low, high) == (4 / 6, 1.0)
    quartiles = (1.0 - (1.0 - 1 / 3 * 0.25)) / 1.34  # the lower one lies a quarter of the way from the low figure's end
    width = 0.9 * min(quartiles, float(np.std([1, 1, 1, 4 / 6]))) * 4**-0.2
    peak, floor = 1 / (width * math.sqrt(2 * math.pi)), TAIL_SHARE * 3
    far = math.exp(-0.5 * (1 / 3 / width) ** 2)
    want = [
        math.log((1 - TAIL_SHARE) * peak * (own + (1 - own) * far) + floor)
        - math.log((1 - TAIL_SHARE) * peak * (0.5 + 0.5 * far) + floor)
        for own in (0.75, 0.25)
    ]
    found = reward([IN_KEY, HALF, IN_KEY, HALF])
    assert found.tolist() == pytest.approx([want[0], want[1]] * 2)
    assert want[0] > 0 > want[1]


def test_to_have_no_figure_is_a_value_too():
    """Of seven pieces of the corpus, and half of one more, one has no figure; of three drawn ones two."""
    reward = LikeCorpus(KEY_SHARE, [IN_KEY, HALF] * 3 + [DRUMS])
    none, drawn = 1.5 / 8, 2.5 / 4
    found = reward([DRUMS, IN_KEY, DRUMS])
    assert found[[0, 2]].tolist() == pytest.approx([math.log(none / drawn)] * 2)
    alone = LikeCorpus(KEY_SHARE, [IN_KEY, HALF] * 3)([IN_KEY])
    shares = math.log((1 - none) / (1 - drawn)) - math.log((1 - 0.5 / 7) / (1 - 0.5 / 2))
    assert found[1] == pytest.approx(alone[0] + shares)


def number_of_notes(parts: list[Part]) -> np.ndarray:
    return np.array([len(part.notes) for part in parts])


def test_a_function_of_ones_own_is_a_reward():
    name = f"{__name__}:number_of_notes"
    made = rewards.make([name, "key_share"], screen=SCREEN, corpus=[IN_KEY, HALF], time_base=MILLISECONDS)
    assert made[name]([IN_KEY, DRUMS]).tolist() == [4, 0]
    assert not list(rewards.names_problems([name, "screening", "key_share"], MILLISECONDS))


def one_number(parts: list[Part]) -> list[float]:
    return [0.5]


def fails(parts: list[Part]) -> list[float]:
    raise KeyError("notes")


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("one_number", "gives [0.5], want 2 numbers, or NaN where it says nothing"),
        ("fails", "fails with KeyError: 'notes'"),
    ],
)
def test_a_function_that_cannot_work_is_named(name, want):
    name = f"{__name__}:{name}"
    with pytest.raises(UserError) as refused:
        rewards.make([name], screen=SCREEN, corpus=[IN_KEY, HALF], time_base=MILLISECONDS)
    assert refused.value.problems == [f"--rewards: {name} {want}"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no.such.module:f", "ModuleNotFoundError: No module named 'no'"),
        (f"{__name__}:nothing", f"AttributeError: module '{__name__}' has no attribute 'nothing'"),
        (f"{__name__}:SCREEN", "SCREEN is no function"),
        (":f", "want MODULE:NAME"),
        (".m:f", "want MODULE:NAME"),
    ],
)
def test_functions_that_are_not_there(name, reason):
    assert list(rewards.names_problems([name], MILLISECONDS)) == [f"{name!r} is no reward: {reason}"]


@pytest.mark.parametrize(("name", "guess"), [("screning", " (did you mean screening?)"), ("xyz", ""), ("loop", "")])
def test_other_names_are_refused(name, guess):
    (problem,) = rewards.names_problems([name], MILLISECONDS)
    assert problem.startswith(f"{name!r} is no reward{guess}, want some of screening, pitch, drum, ")
    assert problem.endswith(", longest_note, or MODULE:NAME of a function")


def test_a_measure_that_tells_nothing_of_the_corpus_is_refused():
    with pytest.raises(UserError) as refused:
        rewards.make(["key_share", "drum"], screen=SCREEN, corpus=[IN_KEY, IN_KEY], time_base=MILLISECONDS)
    assert refused.value.problems == [
        "--rewards: all pieces of the training split have the same key_share; leave it out",
        "--rewards: no piece of the training split has a drum; leave it out",
    ]
