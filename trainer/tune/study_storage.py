"""Where a study is stored, and how workers that start at the same moment create it only once.

    sqlite:///run/study.db              workers of one machine
    postgresql://tune@host/database     workers anywhere; give the password in PGPASSWORD or ~/.pgpass
    run/study.journal                   a file, possibly on a shared disk; no heartbeats: a dead worker's trial stays

With heartbeats, another worker may continue a trial whose worker has missed three of them.
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
from job_runtime.problem_report import UserError
from trainer.tune import trials

IDENTITY = "identity"  # attribute of the study: its search space, dataset and so on
GRACE_BEATS = 3  # heartbeats missed before a worker counts as dead
WAIT_SECONDS = 60  # for a database that is locked, or just starting
POSTGRES_LOCK = 0x6D6964695F6C  # for creating tables; any constant would do
# A server that disappears silently (a lost node) is noticed before many heartbeats are missed.
POSTGRES_ARGS = {"connect_timeout": 10, "tcp_user_timeout": 15_000, "keepalives_idle": 10, "keepalives_interval": 5}
WANTED = "want sqlite:///FILE, postgresql://USER@HOST/DATABASE or the path of a journal file"
_log = logging.getLogger(__name__)


def shown(url: str) -> str:
    """The storage without its password and without options, which may hold one."""
    if "://" not in url:
        return url
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # ValueError: of a port
        return f"{url.partition('://')[0]}://…"
    return parsed.set(query={}).render_as_string(hide_password=True)


def check(url: str) -> None:
    """Raises UserError if `url` is not a storage that we support; nothing is opened."""
    if "://" not in url:
        if not url:
            raise UserError(f"--storage is empty, {WANTED}")
        return
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # ValueError: of a port
        raise UserError(f"--storage is {shown(url)}, {WANTED}") from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql", "postgres"):
        raise UserError(f"--storage is {shown(url)}, {WANTED}")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UserError(f"--storage is {shown(url)}, want a file: sqlite:///FILE")
    if backend != "sqlite" and not parsed.database:
        raise UserError(f"--storage is {shown(url)} without a database, {WANTED}")


class _Database(RDBStorage):
    """An RDB storage whose heartbeats survive a database outage, and that marks attempts that have begun."""

    _begun: int | None = None

    def record_heartbeat(self, trial_id: int) -> None:
        try:
            super().record_heartbeat(trial_id)
            if trial_id != self._begun:
                self.set_trial_user_attr(trial_id, trials.BEGUN, self.get_trial_number_from_id(trial_id))
                self._begun = trial_id
        except UpdateFinishedTrialError:
            pass  # another worker has taken it over; the watch of `trainer.tune.worker` notices
        except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
            # An exception would end Optuna's thread, and with it all later heartbeats of a healthy trial.
            _log.warning("no heartbeat could be written: %s", type(error.__cause__ or error).__name__)


def open_storage(url: str, *, beat_seconds: int) -> BaseStorage:
    """Opens the storage and creates its tables if they are missing.

    Args:
      url: as in the module's docstring; `check` has passed it.
      beat_seconds: between two heartbeats of a running trial.

    Raises:
      UserError: a folder cannot be created or written.
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
    text = (
        parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    )  # Optuna calls format on it
    with _table_lock(parsed, engine_args), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats are experimental
        return _Database(
            text,
            engine_kwargs=engine_args,
            heartbeat_interval=beat_seconds,
            grace_period=GRACE_BEATS * beat_seconds,
            heartbeat_stale_trial_callback=trials.make_retry(),
        )


def is_journal(url: str) -> bool:
    """Whether the storage is a journal file, which has no heartbeats."""
    return "://" not in url


def _make_folder(path: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UserError(f"--storage: {folder} cannot be made: {error.strerror}") from None


@contextlib.contextmanager
def _table_lock(url: sqlalchemy.URL, engine_args: dict[str, Any]) -> Iterator[None]:
    """Holds a lock while tables are created: Optuna takes none, and two processes at the same time would both fail."""
    if url.get_backend_name() == "sqlite":
        with open(f"{url.database}.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    engine = sqlalchemy.create_engine(url, **engine_args)
    try:
        with _connect(engine) as connection:
            connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(POSTGRES_LOCK)))
            yield  # closing the connection frees the lock
    finally:
        engine.dispose()


def _connect(engine: sqlalchemy.Engine) -> sqlalchemy.Connection:
    """Connects; waits for a server that is about to start."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return engine.connect()
        except sqlalchemy.exc.OperationalError as error:
            # Raised without its cause: the chain would carry the connection's arguments into a log.
            reason = str(error.orig).replace(str(engine.url.password), "***") if engine.url.password else error.orig
            if time.monotonic() > deadline:
                raise ConnectionError(f"{shown(str(engine.url))} does not answer: {reason}") from None
            _log.warning("%s does not answer yet: %s", shown(str(engine.url)), reason)
            time.sleep(2)


def create_or_load(storage: BaseStorage, name: str, identity: dict[str, Any], **options: Any) -> Study:
    """The study of this name; it is created if there is none.

    Args:
      storage: as opened.
      name: of the study.
      identity: search space, dataset and so on, as JSON.
      options: sampler and pruner.

    Raises:
      UserError: there is a study of this name with another identity; every difference at once.
    """
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction="minimize", **options)
        study.set_user_attr(IDENTITY, json.dumps(identity))
    except DuplicatedStudyError:
        study = load(storage, name, **options)
        if _wait_for_identity(study) is None:  # its creator died between the two lines above
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
    """Raises UserError if the study has another identity; all differences at once."""
    if IDENTITY not in study.user_attrs:
        raise UserError(f"study {study.study_name!r} was not created by trainer.tune, or not completely")
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
    """The default storage: beside the trials, if they are on this machine."""
    return None if storage_lib.is_remote(output) else f"sqlite:///{storage_lib.join(output, 'study.db')}"
