import argparse
import dataclasses

import pytest

from job_runtime.problem_report import UserError
from trainer import config as config_lib
from trainer.config import TrainConfig
from trainer.model import model_config


def read(*argv: str) -> TrainConfig:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    config_lib.add_flags(parser)
    return config_lib.read(parser.parse_args(argv))


def write_yaml(folder, text: str) -> str:
    path = folder / "run.yaml"
    path.write_text(text)
    return str(path)


def problems_of(*argv: str) -> list[str]:
    with pytest.raises(UserError) as error:
        read(*argv)
    return error.value.problems


def test_defaults_are_right():
    assert read() == TrainConfig()
    assert TrainConfig().problems() == []
    assert TrainConfig().model == model_config.ModelConfig()


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path):
    path = write_yaml(
        tmp_path,
        "units: 64\nlearning_rate: 1e-3\nmax_minutes: 2\npatience: null\nresidual: true\ncontext_lags: [24, 48]\n",
    )
    config = read("--config", path, "--units", "32", "--timing-loss", "mse", "--context-periods", "24,96")
    assert config == TrainConfig(
        units=32,
        learning_rate=1e-3,
        max_minutes=2.0,
        patience=None,
        timing_loss="mse",
        residual=True,
        context_lags=(24, 48),
        context_periods=(24, 96),
    )
    assert type(config.max_minutes) is float
    assert read("--config", path, "--patience", "3").patience == 3


def test_settings_of_a_base_stay_where_nothing_else_is_given():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    config_lib.add_flags(parser)
    args = parser.parse_args(["--layers", "3"])
    assert config_lib.read(args, base=TrainConfig(units=64, layers=1)) == TrainConfig(units=64, layers=3)


def test_what_is_auto_is_not_given(tmp_path):
    path = write_yaml(tmp_path, "units: 64\nlayers: auto\nbatch_size: 4\ncontext_lags: auto\nmax_minutes: 2")
    parser = argparse.ArgumentParser(allow_abbrev=False)
    config_lib.add_flags(parser)
    args = parser.parse_args(["--config", path, "--units", "auto", "--dropout", "auto", "--patience", "none"])
    assert config_lib.read_given(args) == {"batch_size": 4, "max_minutes": 2.0, "patience": None}
    assert problems_of("--head-units", "auto") == ["--head-units is 'auto', want a multiple of 16, 16 to 32768"]


def test_all_problems_come_at_once(tmp_path):
    path = write_yaml(tmp_path, "unitz: 64\nlayers: two\nbatch_size: 64.0\ndropout: true\nwindow: [0]\n")
    names = ", ".join(sorted(field.name for field in dataclasses.fields(TrainConfig)))
    assert problems_of("--config", path, "--learning-rate", "fast", "--patience", "0", "--units", "20") == [
        f"{path}: unitz: no such setting, want one of {names}",
        f"{path}: layers is 'two', want a whole number, 1 to 256, or auto",
        f"{path}: batch_size is 64.0, want a whole number, 1 to 1048576, or auto",
        f"{path}: dropout is True, want a number, at least 0 and below 1, or auto",
        f"{path}: window is [0], want a whole number, 1 to 1048576, or auto",
        "--units is '20', want a multiple of 16, 16 to 32768, or auto",
        "--learning-rate is 'fast', want a number above 0, or auto",
        "--patience is '0', want a whole number, 1 or more, or none, or auto",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timing_loss", "hinge"),
        ("residual", "yes"),
        ("head_units", "24"),
        ("context_notes", str(model_config.LEAST_CONTEXT_NOTES - 1)),
        ("context_lags", "24,4097"),
        ("dropout", "1"),
        ("final_rate", "0"),
        ("learning_rate", "inf"),
        ("max_minutes", "soon"),
        ("patience", "0"),
    ],
)
def test_what_is_out_of_bounds(name, value):
    setting = config_lib.SETTINGS[name]
    assert problems_of(f"{setting.flag}={value}") == [f"{setting.flag} is {value!r}, want {setting.wanted}"]


@pytest.mark.parametrize(
    "text, want",
    [
        ("- 1\n- 2\n", "holds list, want settings as `name: value`"),
        ("", "holds NoneType, want settings as `name: value`"),
        ("units: [1\n", "not readable as YAML: "),
    ],
)
def test_a_file_that_is_no_mapping(tmp_path, text, want):
    path = write_yaml(tmp_path, text)
    (problem,) = problems_of("--config", path)
    assert problem.startswith(f"{path}: {want}")


def test_a_file_that_is_not_there(tmp_path):
    (problem,) = problems_of("--config", str(tmp_path / "none.yaml"))
    assert problem.startswith(f"{tmp_path}/none.yaml: not readable as YAML: ")
