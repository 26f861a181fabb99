"""Where a study lies: what is taken, what is shown of it, and that it is made once."""

import logging
import multiprocessing

import optuna
import pytest
import sqlalchemy

from job_runtime.problem_report import UserError
from trainer.tune import study_storage

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
SECRET = "hunter2{}%40"  # with what Optuna's templates and URLs treat as their own


@pytest.mark.parametrize(
    "url", ["sqlite:///a/b.db", "postgresql://u@h/d", "postgresql+psycopg://u:p@h:5432/d", "run/study.journal"]
)
def test_known_storages_pass(url):
    study_storage.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://u:hunter2@h/d",
        "gs://bucket/study",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://u:hunter2@h",
        "postgresql://u:hunter2@h:port/d",
    ],
)
def test_others_are_the_users_mistake_and_show_no_password(url):
    with pytest.raises(UserError, match="--storage is .*want ") as raised:
        study_storage.check(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("run/study.journal", "run/study.journal"),
        ("sqlite:///run/study.db", "sqlite:///run/study.db"),
        (f"postgresql://tune:{SECRET}@db:5432/study", "postgresql://tune:***@db:5432/study"),
        ("postgresql://tune@db/study?password=hunter2", "postgresql://tune@db/study"),
        ("postgresql://tune:hunter2@db:port/study", "postgresql://…"),
    ],
)
def test_a_storage_is_shown_without_its_password(url, shown):
    assert study_storage.shown(url) == shown


def test_a_database_that_does_not_answer_is_a_fault_without_the_password(monkeypatch, caplog):
    monkeypatch.setattr(study_storage, "WAIT_SECONDS", 0)
    with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionError) as raised:
        study_storage.open_storage(f"postgresql://tune:{SECRET}@127.0.0.1:9/study", beat_seconds=1)
    told = [str(raised.value), repr(raised.value), caplog.text]
    assert "postgresql+psycopg://tune:***@127.0.0.1:9/study does not answer" in told[0]
    assert not any("hunter2" in text for text in told)
    assert raised.value.__cause__ is None and raised.value.__suppress_context__


def test_a_default_lies_beside_local_trials_alone():
    assert study_storage.local_default("out") == "sqlite:///out/study.db"
    assert study_storage.local_default("/abs/out/") == "sqlite:////abs/out/study.db"
    assert study_storage.local_default("gs://bucket/out") is None


def test_a_study_of_something_else_is_refused_with_every_difference(tmp_path):
    opened = study_storage.open_storage(str(tmp_path / "s.journal"), beat_seconds=1)
    units = {"low": 16, "high": 64, "step": 16, "log": False}
    study_storage.create_or_load(opened, "s", {"units": units, "dataset": "abc", "layers": 1})
    study_storage.create_or_load(opened, "s", {"units": units, "dataset": "abc", "layers": 1})  # the same again
    with pytest.raises(UserError) as raised:
        study_storage.create_or_load(opened, "s", {"units": {**units, "high": 128}, "dataset": "def", "layers": 1})
    assert raised.value.problems == [
        'study \'s\': dataset is "abc" there and "def" here; want the same, or another --study',
        'study \'s\': units is {"low": 16, "high": 64, "step": 16} there and {"low": 16, "high": 128, "step": 16} here;'
        " want the same, or another --study",
    ]
    study_storage.create_or_load(opened, "t", {"units": units, "dataset": "def", "layers": 1})  # another study


def test_a_study_that_its_maker_left_unnamed_is_completed(tmp_path, monkeypatch):
    monkeypatch.setattr(study_storage, "_wait_for_identity", lambda study: study.user_attrs.get(study_storage.IDENTITY))
    opened = study_storage.open_storage(f"sqlite:///{tmp_path}/s.db", beat_seconds=1)
    optuna.create_study(storage=opened, study_name="s")
    study = study_storage.create_or_load(opened, "s", {"dataset": "abc"})
    assert study.user_attrs[study_storage.IDENTITY] == '{"dataset": "abc"}'


def test_a_study_that_is_not_there_is_the_users_mistake(tmp_path):
    opened = study_storage.open_storage(str(tmp_path / "s.journal"), beat_seconds=1)
    with pytest.raises(UserError, match="there is no study 's' in this --storage"):
        study_storage.load(opened, "s")


def test_a_study_of_other_tools_is_the_users_mistake(tmp_path):
    opened = study_storage.open_storage(str(tmp_path / "s.journal"), beat_seconds=1)
    study = optuna.create_study(storage=opened, study_name="s")
    with pytest.raises(UserError, match="study 's' was not created by trainer.tune"):
        study_storage.check_identity(study, {"dataset": "abc"})


def test_a_heart_goes_on_when_the_database_is_away(tmp_path, monkeypatch, caplog):
    opened = study_storage.open_storage(f"sqlite:///{tmp_path}/s.db", beat_seconds=1)

    def away(*_):
        raise sqlalchemy.exc.OperationalError("hunter2", {}, Exception("gone"))

    monkeypatch.setattr(optuna.storages.RDBStorage, "record_heartbeat", away)
    opened.record_heartbeat(0)
    assert "no heartbeat could be written" in caplog.text
    assert "hunter2" not in caplog.text


def make_study(url: str, barrier, results) -> None:
    barrier.wait()
    opened = study_storage.open_storage(url, beat_seconds=1)
    results.put(study_storage.create_or_load(opened, "s", {"dataset": "abc"}).study_name)


def race(url: str, num: int = 4) -> None:
    """Makes the same study in several processes at the same moment."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(num), context.Queue()
    processes = [context.Process(target=make_study, args=(url, barrier, results)) for _ in range(num)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * num
    opened = study_storage.open_storage(url, beat_seconds=1)
    assert [study.study_name for study in optuna.get_all_study_summaries(opened)] == ["s"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_workers_that_start_at_the_same_moment_make_one_study(kind, tmp_path):
    race(f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else f"{tmp_path}/s.journal")
