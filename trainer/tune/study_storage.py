"""Where a study lies, and how it is created once by workers that all start at the same moment.

    sqlite:///run/study.db              workers of one machine
    postgresql://tune@host/database     workers anywhere; the password best from PGPASSWORD or ~/.pgpass
    run/study.journal                   a file, on a shared disk too; without heartbeats: a dead worker's trial stays

With heartbeats, a trial whose worker has been silent for three of them is another worker's to continue.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import (
    DuplicatedStudyError,
    ExperimentalWarning,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study

from job_runtime import storage as storage_lib
from job_runtime.command import UserError
from trainer.tune import trials

IDENTITY = "identity"  # what a study is of: search space, dataset and so on; an attribute of the study
GRACE_BEATS = 3  # heartbeats missed before a worker counts as dead
WAIT_SECONDS = 60  # for a database that is locked, or starts just now
POSTGRES_LOCK = 0x6D6964695F6C  # of creating tables, any number that is always the same
# A server that is gone without a word (a lost node) is noticed before heartbeats are missed for long.
POSTGRES_ARGS = {"connect_timeout": 10, "tcp_user_timeout": 15_000, "keepalives_idle": 10, "keepalives_interval": 5}
WANTED = "want sqlite:///FILE, postgresql://USER@HOST/DATABASE or the path of a journal file"
_log = logging.getLogger(__name__)


def shown(url: str) -> str:
    """The storage without its password and without options, which may hold one."""
    if "://" not in url:
        return url
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # the latter of a port
        return f"{url.partition('://')[0]}://…"
    return parsed.set(query={}).render_as_string(hide_password=True)


def check(url: str) -> None:
    """Raises UserError where `url` names no storage that we know; nothing is opened."""
    if "://" not in url:
        if not url:
            raise UserError(f"--storage is empty, {WANTED}")
        return
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # the latter of a port
        raise UserError(f"--storage is {shown(url)}, {WANTED}") from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql", "postgres"):
        raise UserError(f"--storage is {shown(url)}, {WANTED}")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UserError(f"--storage is {shown(url)}, want a file: sqlite:///FILE")
    if backend != "sqlite" and not parsed.database:
        raise UserError(f"--storage is {shown(url)} without a database, {WANTED}")


class _Database(RDBStorage):
    """An RDB storage whose heart continues when the database is away for a while, and that marks what has begun."""

    _begun: int | None = None

    def record_heartbeat(self, trial_id: int) -> None:
        try:
            super().record_heartbeat(trial_id)
            if trial_id != self._begun:
                self.set_trial_user_attr(trial_id, trials.BEGUN, self.get_trial_number_from_id(trial_id))
                self._begun = trial_id
        except UpdateFinishedTrialError:
            pass  # another worker has taken it over, and the watch of `tune_worker` sees that
        except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
            # An exception would end Optuna's thread, and with it all later beats of a trial that is well.
            _log.warning("no heartbeat could be written: %s", type(error.__cause__ or error).__name__)


def open_storage(url: str, *, beat_seconds: int) -> BaseStorage:
    """Opens the storage; creates its tables where they are missing.

    Args:
      url: as in the module's text; `check` has passed it.
      beat_seconds: between two heartbeats of a running trial.

    Raises:
      UserError: a folder is missing or must not be written.
      OSError: the database does not answer.
    """
    if "://" not in url:
        _make_folder(url)
        return JournalStorage(JournalFileBackend(url))
    parsed = sqlalchemy.make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if not is_sqlite:
        parsed = parsed.set(drivername="postgresql+psycopg")
    elif parsed.database:
        _make_folder(parsed.database)
    connect_args = {"timeout": WAIT_SECONDS} if is_sqlite else POSTGRES_ARGS
    engine_args = {"pool_pre_ping": True, "connect_args": connect_args}
    text = parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")  # Optuna formats it
    with _alone(parsed, engine_args), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of heartbeats
        return _Database(
            text,
            engine_kwargs=engine_args,
            heartbeat_interval=beat_seconds,
            grace_period=GRACE_BEATS * beat_seconds,
            heartbeat_stale_trial_callback=trials.make_retry(),
        )


def is_journal(url: str) -> bool:
    """Whether a study there is without heartbeats."""
    return "://" not in url


def _make_folder(path: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UserError(f"--storage: {folder} cannot be made: {error.strerror}") from None


@contextlib.contextmanager
def _alone(url: sqlalchemy.URL, engine_args: dict[str, Any]) -> Iterator[None]:
    """Holds a lock while tables are created: Optuna takes none, and two processes at once would both fail."""
    if url.get_backend_name() == "sqlite":
        with open(f"{url.database}.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    engine = sqlalchemy.create_engine(url, **engine_args)
    try:
        with _connect(engine) as connection:
            connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(POSTGRES_LOCK)))
            yield  # the connection's end frees the lock
    finally:
        engine.dispose()


def _connect(engine: sqlalchemy.Engine) -> sqlalchemy.Connection:
    """A connection; a server that is about to start is waited for."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return engine.connect()
        except sqlalchemy.exc.OperationalError as error:
            # Raised without its cause: an error's chain must not carry the connection's arguments into a log.
            reason = str(error.orig).replace(str(engine.url.password), "***") if engine.url.password else error.orig
            if time.monotonic() > deadline:
                raise ConnectionError(f"{shown(str(engine.url))} does not answer: {reason}") from None
            _log.warning("%s does not answer yet: %s", shown(str(engine.url)), reason)
            time.sleep(2)


def create_or_load(storage: BaseStorage, name: str, identity: dict[str, Any], **options: Any) -> Study:
    """The study of this name, created where there is none.

    Args:
      identity: what the study is of; JSON, one entry a fact.
      options: sampler and pruner.

    Raises:
      UserError: there is a study of this name with another identity; every difference at once.
    """
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction="minimize", **options)
        study.set_user_attr(IDENTITY, json.dumps(identity))
    except DuplicatedStudyError:
        study = load(storage, name, **options)
        if _wait_for_identity(study) is None:  # whoever created it died between these two lines
            study.set_user_attr(IDENTITY, json.dumps(identity))
    check_identity(study, identity)
    return study


def load(storage: BaseStorage, name: str, **options: Any) -> Study:
    """The study of this name.

    Raises:
      UserError: there is none.
    """
    try:
        return optuna.load_study(storage=storage, study_name=name, **options)
    except KeyError:
        raise UserError(f"there is no study {name!r} in this --storage; --create-only makes it") from None


def _wait_for_identity(study: Study, seconds: float = 10.0) -> str | None:
    deadline = time.monotonic() + seconds
    while IDENTITY not in study.user_attrs and time.monotonic() < deadline:
        time.sleep(0.1)
    return study.user_attrs.get(IDENTITY)


def check_identity(study: Study, identity: dict[str, Any]) -> None:
    """Raises UserError where the study is of something else; every difference at once."""
    if IDENTITY not in study.user_attrs:
        raise UserError(f"study {study.study_name!r} was not made by trainer.tune, or was not made to an end")
    there, here = json.loads(study.user_attrs[IDENTITY]), json.loads(json.dumps(identity))
    differences = [
        f"study {study.study_name!r}: {name} is {_said(there, name)} there and {_said(here, name)} here;"
        " want the same, or another --study"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    if differences:
        raise UserError(differences)


def _said(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name)
    if isinstance(value, dict) and "values" in value:
        value = value["values"]
    elif isinstance(value, dict):
        value = {key: fact for key, fact in value.items() if fact not in (None, False)}
    return json.dumps(value)


def local_default(output: str) -> str | None:
    """Where a study lies that nobody said a place for: beside its trials, where these lie on this machine."""
    return None if storage_lib.is_remote(output) else f"sqlite:///{storage_lib.join(output, 'study.db')}"
