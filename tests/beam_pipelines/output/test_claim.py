"""Two encodes on one output: one writes, and the other is told so, or waits."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from beam_pipelines import encode_corpus
from beam_pipelines.execution import dataset_steps
from beam_pipelines.output import claim
from beam_pipelines.output.claim import claim_path
from job_runtime import storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from tests.beam_pipelines.corpora import make_midi, write_files
from tests.beam_pipelines.test_encode_corpus import encode, files_of

ROOT = Path(__file__).parents[3]
HOLDER = """
import sys, time
from beam_pipelines.output import claim
from job_runtime.command import StopSignal
with claim.hold(sys.argv[1], sys.argv[2], stop=StopSignal()):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(output, key: str):
    return claim.hold(str(output), key, stop=StopSignal())


@pytest.fixture
def holder(tmp_path):
    """A process that holds `d` under the key "a"."""
    line = [sys.executable, "-c", HOLDER, str(tmp_path / "d"), "a"]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_key_is_refused_while_the_claim_is_held(tmp_path, holder):
    said = (
        f"--output {tmp_path}/d: another encode, .* is writing there, process {holder.pid} on .*; want another --output"
    )
    with pytest.raises(UserError, match=said), hold(tmp_path / "d", "b"):
        pass
    claim.check(str(tmp_path / "d"), "a")
    with pytest.raises(UserError, match="another encode"):
        claim.check(str(tmp_path / "d"), "b")


def test_a_killed_holder_holds_nothing(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert os.path.exists(claim_path(str(tmp_path / "d")))
    with hold(tmp_path / "d", "b"):
        claim.check(str(tmp_path / "d"), "b")
    assert not os.path.exists(tmp_path / "d" / "work")


def test_the_same_encode_waits(tmp_path, holder, capsys):
    threading.Timer(0.5, holder.stdin.close).start()
    with hold(tmp_path / "d", "a"):
        assert holder.wait() == 0
    assert capsys.readouterr().out.startswith(
        f"the same encode is already running in {tmp_path}/d, process {holder.pid} on "
    )


def test_the_same_encode_stops_waiting_at_a_signal(tmp_path, holder):
    stop = StopSignal()
    stop.requested = True
    with pytest.raises(Interrupted), claim.hold(str(tmp_path / "d"), "a", stop=stop):
        pass


def test_a_holder_may_delete_the_folder_round_the_claim(tmp_path):
    with hold(tmp_path / "d", "a"):
        storage.delete_folder(str(tmp_path / "d"))
        with hold(tmp_path / "d", "b"):
            claim.check(str(tmp_path / "d"), "b")
        with pytest.raises(RuntimeError, match="is gone"):
            claim.check(str(tmp_path / "d"), "a")


def test_without_locks_the_last_one_has_it(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(claim.fcntl, "flock", no_locks)
    with hold(tmp_path / "d", "a"), hold(tmp_path / "d", "b"):
        claim.check(str(tmp_path / "d"), "b")
        with pytest.raises(UserError, match="another encode"):
            claim.check(str(tmp_path / "d"), "a")


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_in_a_bucket(scheme, request):
    output = request.getfixturevalue(f"{scheme}_bucket") + "/d"
    if scheme == "s3":  # the gs:// emulator ignores preconditions
        with hold(output, "a"):
            said = f"another encode.*; if it was killed, delete {output}/work/claim.json"
            with pytest.raises(UserError, match=said), hold(output, "b"):
                pass
            with hold(output, "a"):  # another run of the same encode
                claim.check(output, "a")
            claim.check(output, "a")
    with hold(output, "b"):
        claim.check(output, "b")
    assert not storage.exists(claim_path(output))


def corpus(folder: Path, first: int) -> list[str]:
    files = {f"{number}.mid": make_midi(number) for number in range(first, first + 30)}
    return ["--input", write_files(folder / f"music-{first}", files), "--num-shards", "2"]


@pytest.mark.parametrize("engine", [[], ["--runner=FnApiRunner"]])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_has_lost_its_claim_leaves_nothing_that_looks_complete(tmp_path, monkeypatch, moment, engine):
    """As where there are no locks, and another run comes just before or after dataset_info.json is written."""
    output = tmp_path / "d"
    save = dataset_info.save

    def take() -> None:
        claim_path_ = Path(claim_path(str(output)))
        claim_path_.write_text('{"key": "other", "process": 1, "host": "h", "started": "now"}')

    def lose(*args, **options):
        if moment == "after":
            is_first = save(*args, **options)
        take()
        return is_first if moment == "after" else save(*args, **options)

    monkeypatch.setattr(dataset_steps.dataset_info, "save", lose)
    with pytest.raises(UserError, match="another encode, of other inputs or settings, is writing there"):
        encode(*corpus(tmp_path, 0), "--output", str(output), *engine)
    assert not (output / "dataset_info.json").exists()


def test_a_run_that_comes_second_to_the_end_does_not_replace_the_first(tmp_path, monkeypatch):
    write = dataset_steps.write_ledgers

    def meanwhile(job, *args):
        counts = write(job, *args)
        other = corpus(tmp_path, 100)
        encode(*other, "--output", str(tmp_path / "other"))
        (tmp_path / "d/dataset_info.json").write_bytes((tmp_path / "other/dataset_info.json").read_bytes())
        return counts

    monkeypatch.setattr(
        dataset_steps,
        "write_ledgers",
        lambda job, *args: meanwhile(job, *args) if job.output.endswith("/d") else write(job, *args),
    )
    with pytest.raises(UserError, match="another encode has finished there meanwhile"):
        encode(*corpus(tmp_path, 0), "--output", str(tmp_path / "d"))
    there, others = (tmp_path / name / "dataset_info.json" for name in ("d", "other"))
    assert there.read_bytes() == others.read_bytes()


def test_the_same_encode_finds_the_dataset_complete_after_waiting(tmp_path, capsys, monkeypatch):
    flags = [*corpus(tmp_path, 0), "--output", str(tmp_path / "d")]
    encode(*flags)
    want = files_of(tmp_path / "d")
    (tmp_path / "d/dataset_info.json").unlink()
    real = claim.hold

    def finished_meanwhile(output, key, *, stop):
        (tmp_path / "d/dataset_info.json").write_bytes(want["dataset_info.json"])
        return real(output, key, stop=stop)

    monkeypatch.setattr(encode_corpus.claim, "hold", finished_meanwhile)
    capsys.readouterr()
    assert encode(*flags) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("already complete")
    assert files_of(tmp_path / "d") == want
