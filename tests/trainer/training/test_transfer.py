"""What must fit when a run starts from a bundle."""

import dataclasses

import numpy as np
import pytest

from job_runtime.problem_report import UserError
from midi_codec.music.notes import BEATS, Notes
from tests.trainer.tiny import make_many, make_table, write_dataset
from trainer.bundle import Bundle
from trainer.config import TrainConfig
from trainer.model.model_config import ModelConfig
from trainer.training import transfer

CONFIG = {**dataclasses.asdict(ModelConfig()), "units": 32, "layers": 1}
BUNDLE = Bundle(config=CONFIG, fields=make_table(), dataset={}, metrics={}, deviations={}, weights={})


def notes(**columns) -> Notes:
    given = {
        "pitch": [60, 62],
        "velocity": [40, 90],
        "start": [0, 8],
        "duration": [5, 20],
        "program": [0, 0],
        **columns,
    }
    time_base = given.pop("time_base", "milliseconds")
    return Notes.from_columns(**{name: np.array(list(values)) for name, values in given.items()}, time_base=time_base)


def problems_of(data, pieces, **more) -> list[str]:
    info = write_dataset(str(data), {"train": pieces, "validation": make_many([4])}, **more)
    with pytest.raises(UserError) as error:
        transfer.fit_table(BUNDLE, info, "D")
    return error.value.problems


def test_the_settings_of_a_bundle():
    settings = transfer.settings_of(BUNDLE)
    assert settings["units"] == 32 and settings["timing_loss"] == "categorical"
    transfer.check_settings(BUNDLE, TrainConfig(units=32, layers=1), "B")


def test_another_model_is_refused_but_dropout_is_free():
    with pytest.raises(UserError) as error:
        transfer.check_settings(BUNDLE, TrainConfig(units=32, layers=2, dropout=0.5, timing_loss="mse"), "B")
    assert error.value.problems == [
        "layers is 2, but the bundle B has 1; want the same or leave it out",
        "timing_loss is mse, but the bundle B has categorical; want the same or leave it out",
    ]


def test_a_corpus_that_fits_keeps_the_bins_of_the_bundle(tmp_path):
    info = write_dataset(str(tmp_path), {"train": make_many([20]), "validation": make_many([4])})
    assert transfer.fit_table(BUNDLE, info, "D") == BUNDLE.fields


def test_longer_times_may_be_drawn_up_to_the_end_of_their_bin(tmp_path):
    info = write_dataset(str(tmp_path), {"train": [notes(duration=[5, 700])], "validation": make_many([4])})
    table = transfer.fit_table(BUNDLE, info, "D")
    assert table["duration"].largest == BUNDLE.fields["duration"].edges[-1] - 1
    assert table["duration"].edges == BUNDLE.fields["duration"].edges and table["step"] == BUNDLE.fields["step"]


def test_everything_that_does_not_fit_is_named(tmp_path):
    pieces = [
        notes(pitch=list(range(20, 30)), velocity=[41] * 10, start=range(10), duration=[5] * 10, program=[0] * 10)
    ]
    assert problems_of(tmp_path, pieces) == [
        "D: the bundle does not know pitch 20, 21, 22, 23, 24 and 5 more, which the train split holds",
        "D: the bundle does not know velocity 41, which the train split holds",
    ]


def test_another_grid(tmp_path):
    piece = notes(time_base=BEATS)
    info = write_dataset(str(tmp_path), {"train": [piece], "validation": [piece]}, time_base=BEATS)
    with pytest.raises(UserError, match="D: the bundle knows a grid of milliseconds, but the dataset has one of beats"):
        transfer.fit_table(BUNDLE, info, "D")


def test_other_programs(tmp_path):
    assert problems_of(tmp_path, [notes(program=[0, 5])]) == [
        "D: the bundle knows only program 0, but the train split holds program 5"
    ]


def test_lists_of_a_bundle_are_what_settings_hold():
    bundle = dataclasses.replace(BUNDLE, config={**CONFIG, "context_lags": [24, 48]})  # as JSON has them
    config = TrainConfig(units=32, layers=1, context_lags=(24, 48))
    transfer.check_settings(bundle, config, "B")
    assert dataclasses.replace(TrainConfig(), **transfer.settings_of(bundle)) == config
