"""Only one encode at a time writes into an output folder; another one, with other inputs or settings, is refused.

`work/claim.json` names the writer. On a disk the writer keeps it locked, and the kernel releases the lock when the
process ends, so a claim that no process holds is taken over. A second run of the same encode, which would write the
same bytes, waits. A bucket has no locks: there the object is created only if it does not exist (a precondition of the
request), a second run of the same encode joins in, and the claim of a killed run has to be deleted by hand before
another encode.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import platform
import secrets
import time
from collections.abc import Iterator
from typing import Any

from beam_pipelines.output import output_folder
from job_runtime import io_errors, json_text, storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.problem_report import UserError

POLL_SECONDS = 0.2


def claim_path(output: str) -> str:
    return storage.join(output_folder.work_folder(output), "claim.json")


@contextlib.contextmanager
def hold(output: str, key: str, *, stop: StopSignal) -> Iterator[None]:
    """Holds the claim for the block; waits while another run of the same encode holds it.

    Args:
      key: equal for encodes that write the same bytes.

    Raises:
      UserError: another encode is writing there. Interrupted: `stop` asked for it, while waiting.
    """
    path, own_claim = claim_path(output), _describe(key)
    if storage.is_remote(output):
        yield from _hold_object(output, path, own_claim)
        return
    has_printed = False
    while True:
        try:
            with io_errors.named(path):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the holder has just deleted the folder
            continue
        try:
            if _lock(descriptor):
                if not _is_at(path, descriptor):  # deleted meanwhile by its holder
                    continue
                with io_errors.named(path):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, own_claim, 0)
                try:
                    yield
                finally:
                    if _is_at(path, descriptor):
                        storage.delete(path)
                    with contextlib.suppress(OSError):
                        os.rmdir(os.path.dirname(path))  # of a run that had nothing to do
                return
            other_claim = _read(path)
            if other_claim is not None and other_claim["key"] != key:
                raise UserError(_refusal(output, other_claim))
        finally:
            os.close(descriptor)
        if other_claim is not None and not has_printed:
            print(f"the same encode is already running in {output}, {_whose(other_claim)}; waiting for it", flush=True)
            has_printed = True
        if stop.requested:
            raise Interrupted("start the same command again to continue")
        time.sleep(POLL_SECONDS)


def check(output: str, key: str) -> None:
    """Checks that the claim is still ours, before and after a step that must not be mixed with another run's.

    Raises:
      UserError: another encode has it. RuntimeError: no run has it, for example because the folder was deleted.
    """
    other_claim = _read(claim_path(output))
    if other_claim is None:
        raise RuntimeError(
            f"{claim_path(output)} is gone: another run of the same encode has finished, or the folder was cleared; "
            "start again"
        )
    if other_claim["key"] != key:
        raise UserError(_refusal(output, other_claim))


def _hold_object(output: str, path: str, own_claim: bytes) -> Iterator[None]:
    storage.write_bytes(path, own_claim, only_if_absent=True)
    other_claim = _read(path)
    if other_claim is not None and other_claim["key"] != json.loads(own_claim)["key"]:
        raise UserError(f"{_refusal(output, other_claim)}; if it was killed, delete {path}")
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            if storage.read_bytes(path) == own_claim:
                storage.delete(path)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: `check` has to be enough
        pass
    return True


def _is_at(path: str, descriptor: int) -> bool:
    try:
        at_path, locked = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (at_path.st_dev, at_path.st_ino) == (locked.st_dev, locked.st_ino)


def _describe(key: str) -> bytes:
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    claim = {
        "key": key,
        "run": secrets.token_hex(8),
        "host": platform.node(),
        "process": os.getpid(),
        "started": started,
    }
    return json.dumps(claim).encode()


def _read(path: str) -> dict[str, Any] | None:
    """The claim; None if there is none, or if it is not yet written."""
    try:
        claim = json_text.parse(storage.read_bytes(path), dict[str, Any])
    except (FileNotFoundError, json_text.JsonError):
        return None
    return claim if "key" in claim else None


def _refusal(output: str, other_claim: dict[str, Any]) -> str:
    return (
        f"--output {output}: another encode, of other inputs or settings, is writing there, {_whose(other_claim)}; "
        "want another --output"
    )


def _whose(other_claim: dict[str, Any]) -> str:
    return f"process {other_claim.get('process')} on {other_claim.get('host')} since {other_claim.get('started')}"
