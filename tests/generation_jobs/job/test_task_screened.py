"""Screening while pieces are made: kept, made again, left out; the same in any number of tasks and after kills."""

import contextlib
import dataclasses

import pytest

from generation_jobs.output import manifest, piece_files
from generation_jobs.screening.reject_policy import DROP, KEEP, RETRY, Policy
from midi_codec.dataset import records
from midi_codec.measures.thresholds import Screen
from midi_codec.music.notes import MILLISECONDS
from tests.generation_jobs.fakes import DATASET_HASH, FakeDecoder
from tests.generation_jobs.job.test_job import make_job
from tests.generation_jobs.job.test_task import RECORDS, files_of, run


class Strict(Screen):
    """Rejects a piece with an odd number of generated notes, and every piece without one."""

    def judge(self, result):
        judgement = super().judge(result)
        is_odd = (len(result.notes) - result.num_primer_notes) % 2 == 1
        return dataclasses.replace(judgement, reasons=(*judgement.reasons, *(["odd"] if is_odd else [])))


def policy(on_reject: str, max_retries: int = 0) -> Policy:
    screen = Strict({}, MILLISECONDS, DATASET_HASH)
    return Policy(screen=screen, on_reject=on_reject, max_retries=max_retries)


def num_generated(line: manifest.Line) -> int:
    return line["num_notes"] - line["num_primer_notes"]


def test_rejected_pieces_may_be_kept_with_their_reasons(tmp_path):
    run(tmp_path / "free")
    summary = run(tmp_path / "kept", policy=policy(KEEP))
    lines, free = (manifest.read(str(tmp_path / name)) for name in ("kept", "free"))
    assert [line["piece_id"] for line in lines] == [line["piece_id"] for line in free]
    assert [line["screening"] for line in free] == [None] * 6
    for line in lines:
        want = ["no_notes"] * (num_generated(line) == 0) + ["odd"] * (num_generated(line) % 2)
        assert line["screening"]["reasons"] == want and line["screening"]["rejected"] == []
    odd = sum(bool(line["screening"]["reasons"]) for line in lines)
    assert 0 < odd < 6 and (summary.num_rejected, summary.num_retries, summary.num_made) == (odd, 0, 6)


def test_rejected_pieces_are_made_again_from_fresh_streams(tmp_path):
    run(tmp_path / "kept", policy=policy(KEEP))
    summary = run(tmp_path / "again", policy=policy(RETRY, 20))
    kept, again = (manifest.read(str(tmp_path / name)) for name in ("kept", "again"))
    assert summary.num_retries == sum(len(line["screening"]["rejected"]) for line in again)
    hopeless = again.pop()  # of "c", one note at most: the last attempt is kept, and says so
    assert summary.num_rejected == 1 and hopeless["screening"]["reasons"] and hopeless["path"]
    assert len(hopeless["screening"]["rejected"]) == 20
    this_job = make_job(tmp_path)
    for number, (before, after) in enumerate(zip(kept[:-1], again, strict=True)):
        rejected = after["screening"]["rejected"]
        assert num_generated(after) % 2 == 0 and after["screening"]["reasons"] == []
        if not before["screening"]["reasons"]:
            assert rejected == [] and after["piece_id"] == before["piece_id"]
            continue
        assert rejected[0] == {"piece_id": before["piece_id"], "reasons": before["screening"]["reasons"]}
        made = FakeDecoder()._result(this_job.request(number, len(rejected)))
        assert made.notes.piece_id == after["piece_id"]


@pytest.mark.parametrize("layout", ["mid", "tar"])
@pytest.mark.parametrize("on_reject", [RETRY, DROP])
def test_screening_gives_the_same_in_several_tasks_and_after_kills(tmp_path, on_reject, layout):
    changes = {"policy": policy(on_reject, 2), "pieces_per_shard": 2 if layout == "tar" else None}
    run(tmp_path / "one", **changes)
    for stop_after in range(3):
        with contextlib.suppress(RuntimeError):
            run(tmp_path / "three", FakeDecoder(stop_after=stop_after), num_tasks=3, task_index=0, **changes)
    for index in (2, 0, 1):
        run(tmp_path / "three", num_tasks=3, task_index=index, **changes)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "three")


@pytest.mark.parametrize("layout", ["mid", "tar"])
def test_pieces_that_are_left_out_have_a_line_and_nothing_else(tmp_path, layout):
    summary = run(tmp_path, policy=policy(DROP), pieces_per_shard=None if layout == "mid" else 100)
    lines = manifest.read(str(tmp_path))
    left_out = [line for line in lines if line["path"] is None]
    assert [line for line in lines if line["screening"]["reasons"]] == left_out
    assert 0 < len(left_out) == summary.num_rejected < len(lines) == 6
    there = [line["path"] for line in lines if line["path"] is not None]
    if layout == "mid":
        assert {path for path in files_of(tmp_path) if path.startswith("midi/")} == set(there)
    else:
        archive = piece_files.read_tar(str(tmp_path / "midi/pieces-00000-of-00001.tar"))
        assert [f"midi/pieces-00000-of-00001.tar!{name}" for name in archive] == sorted(there)
    assert len(list(records.read_records((tmp_path / RECORDS).read_bytes()))) == len(there)
