"""The rule for settings that are not given: exact values for several corpora and budgets."""

import dataclasses
import json

import pytest

from midi_codec.dataset.dataset_info import DatasetInfo, Histogram
from midi_codec.music.notes import BEATS, MILLISECONDS
from tests.trainer.tiny import make_info
from trainer import plan
from trainer.config import TrainConfig
from trainer.run_output import run_folder


def make_corpus(pieces: int, notes: int, **more) -> DatasetInfo:
    """A tenth as many pieces and notes to validate with."""
    sizes = {"train": (pieces, notes), "validation": (max(pieces // 10, 1), notes // 10), "test": (0, 0)}
    return make_info(sizes, **more)


def chosen(info: DatasetInfo, **given) -> dict:
    """The settings that differ from one corpus and budget to the other."""
    config = plan.resolve(given, info).config
    names = "batch_size window units layers context_units dropout weight_average warmup_steps epochs"
    return {name: getattr(config, name) for name in [*names.split(), "evaluate_every", "patience", "samples"]}


TWENTY, HUNDRED, THOUSAND = make_corpus(16, 4_000), make_corpus(80, 58_000), make_corpus(1000, 1_000_000)
FULL_SIZE = {"window": 128, "units": 256, "layers": 2, "context_units": 32}


@pytest.mark.parametrize(
    "info, minutes, want",
    [
        (
            TWENTY,
            4.0,  # far more time than it takes to learn 4,000 notes by heart
            {
                **FULL_SIZE,
                "batch_size": 8,
                "dropout": 0.3,
                "weight_average": 0.975,
                "warmup_steps": 10,
                "epochs": 40.0,
                "evaluate_every": 4.167,  # 25 steps
                "patience": 8,
                "samples": 0,
            },
        ),
        (
            HUNDRED,
            4.0,
            {
                **FULL_SIZE,
                "batch_size": 8,
                "dropout": 0.3,
                "weight_average": 0.995,
                "warmup_steps": 30,
                "epochs": 18.0,
                "evaluate_every": 1.0,  # 67 steps
                "patience": 8,
                "samples": 0,
            },
        ),
        (
            HUNDRED,
            0.6,  # no time for the full size
            {
                "window": 64,
                "units": 128,
                "layers": 1,
                "context_units": 0,
                "batch_size": 8,
                "dropout": 0.3,
                "weight_average": 0.992,
                "warmup_steps": 18,
                "epochs": 18.0,
                "evaluate_every": 1.0,
                "patience": 8,
                "samples": 0,
            },
        ),
        (
            THOUSAND,
            4.0,
            {
                **FULL_SIZE,
                "batch_size": 8,
                "dropout": 0.2,
                "weight_average": 0.998,
                "warmup_steps": 50,
                "epochs": 16.0,
                "evaluate_every": 0.3,  # three times the validation split
                "patience": 8,
                "samples": 0,
            },
        ),
        (
            make_corpus(10_000, 10_000_000),
            None,
            {
                **FULL_SIZE,
                "batch_size": 32,
                "dropout": 0.3,
                "weight_average": 0.998,
                "warmup_steps": 50,
                "epochs": 16.0,
                "evaluate_every": 0.3,
                "patience": 11,
                "samples": 4,
            },
        ),
    ],
)
def test_what_the_rule_chooses(info, minutes, want):
    assert chosen(info, **({} if minutes is None else {"max_minutes": minutes})) == want


@pytest.mark.parametrize(
    "time_base, notes, passes",
    [
        (BEATS, 1_000, 40.0),
        (BEATS, 25_000, 24.0),
        (BEATS, 10**7, 16.0),
        (MILLISECONDS, 1_000, 40.0),
        (MILLISECONDS, 25_000, 16.0),
        (MILLISECONDS, 10**7, 10.0),
    ],
)
def test_the_most_passes(time_base, notes, passes):
    assert plan.resolve({}, make_corpus(50, notes, time_base=time_base)).config.epochs == passes


@pytest.mark.parametrize(
    "time_base, lags, periods",
    [(BEATS, (24, 48, 96, 192, 384), (24, 96)), (MILLISECONDS, (250, 500, 1000, 2000, 4000), ())],
)
def test_the_notes_so_far_on_both_grids(time_base, lags, periods):
    config = plan.resolve({}, make_corpus(80, 58_000, time_base=time_base)).config
    assert (config.context_lags, config.context_periods, config.context_notes) == (lags, periods, 144)


@pytest.mark.parametrize("time_base, chord", [(BEATS, 0), (MILLISECONDS, 50)])
def test_played_steps_match_if_both_are_within_a_chord(time_base, chord):
    config = plan.resolve({}, make_corpus(50, 25_000, time_base=time_base)).config
    assert (config.attention, config.attention_chord) == ("copy", chord)


def test_what_is_given_wins_setting_by_setting_and_the_rest_follows_from_it():
    given = {"batch_size": 32, "units": 64, "context_lags": (), "patience": None, "epochs": 4.0, "head_units": 16}
    config = plan.resolve(given, HUNDRED).config
    assert {name: getattr(config, name) for name in given} == given
    assert (config.layers, config.context_units, config.dropout) == (2, 32, 0.2)
    assert config.evaluate_every == 1.0, "four validations in 68 steps"
    assert config.weight_average == 0.912


def test_everything_can_be_given():
    given = dataclasses.asdict(TrainConfig())
    assert plan.resolve(given, HUNDRED).config == TrainConfig()


def test_two_lines_say_what_and_why():
    assert plan.resolve({"max_minutes": 4.0}, HUNDRED).lines == (
        "plan: 8 x 128 notes per step, 2 layers of 256 units, context of 144 notes, copying from 512, "
        "dropout 0.3, weight average 0.995; "
        "a validation every 67 steps, stops after 8 without improvement; at most 18 passes over the notes",
        "because 80 pieces of 58,000 notes in all on a grid of beats and 4 minutes make about 1,206 steps, "
        "18.00 passes",
    )
    given = {"layers": 1, "patience": None, "context_units": 0}
    assert plan.resolve(given, make_corpus(80, 58_000, time_base=MILLISECONDS, programs=(0, 128))).lines == (
        "plan: 8 x 128 notes per step, 1 layer of 256 units, no context, no copying, "
        "dropout 0.3, weight average 0.993; "
        "a validation every 67 steps, no early stop; at most 12 passes over the notes",
        "because 80 pieces of 58,000 notes in all on a grid of milliseconds with several programs and 12 passes make "
        "about 804 steps, 12.00 passes; given: layers, context_units, patience",
    )


def test_a_run_that_is_continued_keeps_its_choices(monkeypatch):
    first = plan.resolve({"max_minutes": 4.0, "units": 64}, HUNDRED).config
    saved = json.loads(json.dumps(run_folder.describe(first, dataset="d" * 32, init_from=None)))
    monkeypatch.setattr(plan, "STEPS_PER_MINUTE", 10)  # a later version with another rule
    monkeypatch.setattr(plan, "LAGS", {BEATS: (1, 2)})
    assert plan.resolve({"max_minutes": 4.0, "units": 64}, HUNDRED).config != first
    assert plan.resolve({"max_minutes": 4.0, "units": 64}, HUNDRED, saved=saved).config == first
    assert plan.resolve({"max_minutes": 4.0}, HUNDRED, saved=saved).config == first
    assert plan.resolve({"max_minutes": 4.0, "units": 32}, HUNDRED, saved=saved).config.units == 32


def test_a_bundle_to_start_from_fixes_the_size_and_not_the_dropout():
    start = {"units": 512, "layers": 3, "context_units": 0, "dropout": 0.05, "timing_loss": "mixture"}
    config = plan.resolve({}, HUNDRED, start=start).config
    assert (config.units, config.layers, config.context_units, config.timing_loss) == (512, 3, 0, "mixture")
    assert (config.dropout, config.learning_rate) == (0.3, 1e-3)


def test_a_batch_divides_among_the_workers():
    assert [plan.resolve({}, HUNDRED, num_workers=num).config.batch_size for num in (1, 2, 3, 16)] == [8, 8, 9, 16]


@pytest.mark.parametrize("main, want", [(57_000, "copy"), (55_099, "echo"), (55_100, "copy")])
def test_several_instruments_copy_echoes_only(main, want):
    info = make_corpus(80, 58_000, programs=(0, 128))
    histogram = Histogram(values=(0, 128), counts=(main, 58_000 - main))
    histograms = {**info.histograms, "train": {**info.histograms["train"], "program": histogram}}
    config = plan.resolve({}, dataclasses.replace(info, histograms=histograms)).config
    assert config.attention == want
    assert (config.attention_lags[0], config.attention_dropout) == (24, 0.5)
    assert (config.attention_chord, config.attention_gaps) == (0, {"copy": 0.2, "echo": 0.35}[want])
    assert plan.resolve({"attention": "copy"}, info).config.attention == "copy"
