"""What must fit when a run starts from a bundle."""

import dataclasses

import numpy as np
import pytest

from job_runtime.problem_report import UserError
from midi_codec import fields
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


@pytest.mark.parametrize("loss", ["categorical", "mixture"])
def test_a_corpus_gets_its_own_bins_in_the_units_of_the_bundle(tmp_path, loss):
    start = make_table(timing_loss=loss)
    start = dataclasses.replace(
        start, fields=tuple(dataclasses.replace(field, scale=7.0, shift=3.0) for field in start.fields)
    )
    piece = notes(pitch=[20, 21], duration=[5, 700])
    info = write_dataset(str(tmp_path), {"train": [piece], "validation": make_many([4])})
    own = fields.dataset_table(info, timing_loss=loss)
    table = transfer.make_table(dataclasses.replace(BUNDLE, fields=start), info, "D")
    if loss == "categorical":
        assert table == own
    assert (table["step"].shift, table["duration"].edges) == (
        1.0 if loss == "categorical" else 3.0,
        own["duration"].edges,
    )
    assert table["duration"].largest == 700 and table["pitch"].num_bins == 128


def test_another_grid(tmp_path):
    piece = notes(time_base=BEATS)
    info = write_dataset(str(tmp_path), {"train": [piece], "validation": [piece]}, time_base=BEATS)
    with pytest.raises(UserError, match="D: the bundle knows a grid of milliseconds, but the dataset has one of beats"):
        transfer.make_table(BUNDLE, info, "D")


def test_lists_of_a_bundle_are_what_settings_hold():
    bundle = dataclasses.replace(BUNDLE, config={**CONFIG, "context_lags": [24, 48]})  # as JSON has them
    config = TrainConfig(units=32, layers=1, context_lags=(24, 48))
    transfer.check_settings(bundle, config, "B")
    assert dataclasses.replace(TrainConfig(), **transfer.settings_of(bundle)) == config
