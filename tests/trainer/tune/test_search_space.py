"""The search-space file: what it may hold, and that everything wrong with it is told at once."""

import dataclasses

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from job_runtime.problem_report import UserError
from tests.trainer.tiny import make_info
from trainer import plan
from trainer.config import TrainConfig
from trainer.tune import search_space
from trainer.tune.search_space import Choices, Range

SPACE = """
learning_rate: {low: 1e-4, high: 0.01, log: true}
units: {low: 128, high: 512, step: 64}
layers: {low: 1, high: 3}
dropout: {low: 0, high: 0.5}
timing_loss: [categorical, mixture]
patience: [none, 4]
epochs: 20
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text: str, **more) -> search_space.SearchSpace:
        path = tmp_path / "space.yaml"
        path.write_text(text)
        return search_space.read(str(path), **more)

    return read_text


def problems_of(read, text: str, **more) -> list[str]:
    with pytest.raises(UserError) as raised:
        read(text, **more)
    return [problem.partition("space.yaml: ")[2] for problem in raised.value.problems]


def test_ranges_choices_and_fixed_settings(read):
    space = read(SPACE)
    assert space.varied == {
        "learning_rate": Range(1e-4, 0.01, log=True),  # YAML takes 1e-4 for a word
        "units": Range(128, 512, step=64),
        "layers": Range(1, 3),
        "dropout": Range(0.0, 0.5),
        "timing_loss": Choices(("categorical", "mixture")),
        "patience": Choices((None, 4)),
    }
    assert space.base == TrainConfig(epochs=20.0)
    assert space.distributions() == {
        "learning_rate": FloatDistribution(1e-4, 0.01, log=True),
        "units": IntDistribution(128, 512, step=64),
        "layers": IntDistribution(1, 3),
        "dropout": FloatDistribution(0.0, 0.5),
        "timing_loss": CategoricalDistribution(("categorical", "mixture")),
        "patience": CategoricalDistribution((None, 4)),
    }


def test_a_trials_values_become_settings(read):
    space = read("units: {low: 16, high: 64, step: 16}\ntiming_loss: [mse, mixture]\nepochs: 3")
    params = space.suggest(FixedTrial({"units": 48, "timing_loss": "mse"}))
    assert space.config_of(params) == TrainConfig(units=48, timing_loss="mse", epochs=3.0)
    assert type(params["units"]) is int


def test_settings_of_a_run_stand_where_the_space_names_none(read, tmp_path):
    (tmp_path / "run.yaml").write_text("batch_size: 8\nepochs: 5\nlayers: 4")
    space = read("layers: [1, 2]\nepochs: 7", base_path=str(tmp_path / "run.yaml"), defaults={"samples": 0})
    assert space.base == TrainConfig(batch_size=8, epochs=7.0, layers=4, samples=0)
    assert space.given == {"batch_size", "epochs", "layers"}
    assert space.config_of({"layers": 2}).layers == 2


def test_what_is_not_named_is_planned_for_the_largest_values(read):
    info = make_info({"train": (80, 58_000), "validation": (8, 5_800), "test": (0, 0)})
    defaults = {"samples": 0}
    space = read("epochs: [2, 8]\nlearning_rate: 1.0e-3\nunits: auto", defaults=defaults).planned(info, defaults)
    want = plan.resolve({"epochs": 8.0, "learning_rate": 1e-3, "samples": 0}, info).config
    assert space.base == dataclasses.replace(want, epochs=30.0)  # of the base, replaced in every trial
    assert space.config_of({"epochs": 2.0}) == dataclasses.replace(want, epochs=2.0)
    assert (space.base.batch_size, space.base.context_units, space.base.units) == (8, 32, 256)


def test_auto_is_not_searched(read):
    assert problems_of(read, "units: [auto, 64]") == ["units has 'auto', want a multiple of 16, 16 to 32768"]
    assert problems_of(read, "units: {low: auto, high: 64}") == [
        "units: low is 'auto', want a multiple of 16, 16 to 32768"
    ]


def test_a_default_of_trials_gives_way_to_the_file(read):
    space = read("layers: [1, 2]\nsamples: 0", defaults={"samples": 0})
    assert space.base.samples == 0
    assert "samples" in space.given


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("unit: [1]", ["unit: no such setting, want one of attention, "]),
        ("units: [16, wide]", ["units has 'wide', want a multiple of 16, 16 to 32768"]),
        ("units: [16, 16]", ["units is [16, 16], want each choice once"]),
        ("units: []", ["units is an empty list, want choices"]),
        ("units: {low: 16}", ["units: is a range without 'high', want low and high"]),
        (
            "units: {low: 16, hi: 32}",
            ["units: has 'hi', want only low, high, step, log in a range", "units: is a range without 'high'"],
        ),
        ("units: {low: 16.5, high: 32}", ["units: low is 16.5, want a multiple of 16, 16 to 32768"]),
        ("dropout: {low: 0, high: .inf}", ["dropout.high: is inf, want a number"]),
        ("dropout: {low: 0.3, high: 0.3}", ["dropout: is from 0.3 to 0.3, want low below high; write a single value"]),
        ("dropout: {low: 0, high: 0.5, log: true}", ["dropout: low is 0.0, want a number above 0 where log"]),
        ("learning_rate: {low: 0.1, high: 1, log: yes please}", ["learning_rate: log is 'yes please', want true or"]),
        ("layers: {low: 1, high: 4, step: 2}", ["layers: goes from 1 to 4 in steps of 2, want a whole number"]),
        ("layers: {low: 1, high: 5, step: 2, log: true}", ["layers: has a step and log: true, want one of them"]),
        ("layers: {low: 1, high: 5, step: -1}", ["layers: step is -1, want a number above 0"]),
        ("timing_loss: {low: 1, high: 2}", ["timing_loss is a range but not a number, want a list"]),
        ("evaluate_every: [0.5, 1]", ["evaluate_every varies, want one value: trials are compared by"]),
        ("rng_seed: {low: 0, high: 9}", ["rng_seed varies, want one value: the best of several seeds is luck"]),
        ("epochs: 3", ["varies nothing, want at least one range"]),
        # What no run can have, at an end of the range or where steps lead.
        ("units: {low: 16, high: null}", ["units: is a range without 'high', want low and high"]),
        ("units: {low: 16, high: 32, step: 8}", ["units is 24, want a multiple of 16, 16 to 32768"]),
        ("units: {low: 16, high: 64, step: 16}\nlayers: [0, 1]", ["layers has 0, want a whole number, 1 to 256"]),
        (
            "dropout: {low: 0, high: 1}\nwindow: 0",
            ["dropout: high is 1, want a number, at least 0 and", "window is 0, want a whole number, 1 to 1048576"],
        ),
        ("timing_loss: [categorical, median]", ["timing_loss has 'median', want categorical, "]),
    ],
)
def test_what_cannot_work_is_named_with_its_place_and_what_was_wanted(read, text, wanted):
    found = problems_of(read, text)
    assert len(found) == len(wanted), found
    for problem, start in zip(found, wanted, strict=True):
        assert problem.startswith(start), problem


def test_everything_wrong_is_told_at_once(read):
    found = problems_of(read, "unit: 3\nunits: [16, x]\nlayers: {low: 3, high: 1}\nbatch_size: [0, 8]")
    assert [problem.split(" ")[0] for problem in found] == ["unit:", "units", "layers:", "batch_size"]


def test_a_whole_number_range_without_steps_is_looked_at_between_its_ends(read):
    assert problems_of(read, "units: {low: 16, high: 64}") == ["units is 17, want a multiple of 16, 16 to 32768"]


def test_many_settings_are_still_looked_at(read):
    choices = "\n".join(f"{name}: [0.0, 0.1, 0.2, 0.3, 0.4]" for name in ("dropout", "recurrent_dropout", "tempo"))
    choices += "\nunits: {low: 16, high: 64}\nembedding_dropout: [0.0, 0.1, 0.2, 0.3]"
    many = f"{choices}\nwindow: [1, 2, 3, 4, 5]\nlayers: [1, 2, 3, 4, 5]"
    assert problems_of(read, many) == ["units is 17, want a multiple of 16, 16 to 32768"]


def test_equal_searches_are_told_from_others(read):
    assert read(SPACE).to_json() == read(SPACE).to_json()
    other = read(SPACE.replace("512", "576")).to_json()
    assert {name for name, value in read(SPACE).to_json().items() if other[name] != value} == {"units"}


def test_best_settings_are_what_a_run_reads(tmp_path):
    config = TrainConfig(learning_rate=1e-5, patience=None, timing_loss="mixture", samples=0)
    path = tmp_path / "best.yaml"
    search_space.write_config(str(path), config, heading="trial 3", without=["samples"])
    assert path.read_text().startswith("# trial 3\n")
    read = yaml.safe_load(path.read_text())
    assert "samples" not in read
    assert TrainConfig(**read, samples=0) == config
