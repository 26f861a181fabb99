"""A task's share: its files, restarts, failures, and pieces in tar shards."""

import collections
import dataclasses
import json
import pathlib

import pytest

from generation_jobs.job import task
from generation_jobs.job.piece_keeper import PieceKeeper
from generation_jobs.output import manifest, piece_bytes, piece_files
from generation_jobs.settings.requests import Settings
from job_runtime import command, storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.problem_report import UserError
from midi_codec.dataset import records
from midi_codec.midi import midi_file, midi_writer
from midi_codec.music.notes import MILLISECONDS
from tests.generation_jobs.fakes import FakeDecoder
from tests.generation_jobs.job.test_job import ALL, make_job

MANIFEST = "manifest/part-00000-of-00001.jsonl"
RECORDS = "records/generated-00000-of-00001.tfrecord"
SIZES = "sizes/part-00000-of-00001.json"


def run(output: pathlib.Path, decoder: FakeDecoder | None = None, **changes: object) -> task.Summary:
    return task.run(make_job(output, **changes), lambda: decoder or FakeDecoder(), StopSignal())


def files_of(output: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def test_the_files_of_a_job(tmp_path):
    summary = run(tmp_path)
    names = {f"midi/{seed}/{seed}-{sample:05d}.mid" for seed, sample in ALL}
    assert files_of(tmp_path).keys() == names | {"job.json", "seeds.jsonl", MANIFEST, RECORDS, SIZES}
    lines = manifest.read(str(tmp_path))
    assert [(line["seed_id"], line["sample"]) for line in lines] == ALL
    notes = sum(line["checks"]["num_notes_generated"] for line in lines)
    assert (summary.num_samples, summary.num_made, summary.num_notes) == (6, 6, notes)


def test_a_line_says_where_a_piece_comes_from(tmp_path):
    run(tmp_path)
    line = manifest.read(str(tmp_path))[4]
    notes = midi_file.parse((tmp_path / line["path"]).read_bytes())
    assert list(line) == [
        "seed_id", "sample", "rng_seed", "path", "piece_id", "bundle", "precision", "dataset", "settings",
        "num_primer_notes", "primer_salvaged", "primer", "num_notes", "seconds", "signatures", "log_likelihood",
        "ended", "checks", "screening", "code_version",
    ]  # fmt: skip
    num_generated = len(notes) - 2
    given = {"temperature": 0.0, "max_notes": 20, "max_seconds": 60.0}
    assert line["settings"] == {**dataclasses.asdict(Settings()), **given}
    assert line["path"] == "midi/a/a-00001.mid"
    assert line["piece_id"] == notes.piece_id
    assert (line["rng_seed"], line["bundle"], line["dataset"]) == (7, "b" * 32, "d" * 32)
    assert (line["num_primer_notes"], line["num_notes"]) == (2, len(notes))
    assert line["seconds"] == pytest.approx(notes.seconds, abs=1e-6)
    assert line["log_likelihood"] == pytest.approx(-1.5 * num_generated - 0.1, abs=1e-6)
    assert line["ended"] == (num_generated < 20)
    assert line["checks"]["num_notes_generated"] == num_generated
    assert notes.pitch[:2].tolist() == [60, 64]


def test_a_midi_file_holds_its_manifest_line(tmp_path):
    run(tmp_path)
    for line in manifest.read(str(tmp_path)):
        assert manifest.dumps(line).encode() in (tmp_path / line["path"]).read_bytes()


def test_records_hold_the_pieces_in_the_dataset_format(tmp_path):
    run(tmp_path)
    path = tmp_path / RECORDS
    pieces = list(records.read_pieces(str(path), time_base=MILLISECONDS))
    lines = [line for line in manifest.read(str(tmp_path)) if line["num_notes"]]
    assert [(p.piece_id, p.group_id, p.source) for p in pieces] == [
        (line["piece_id"], line["seed_id"], line["path"]) for line in lines
    ]
    assert [p.notes for p in pieces] == [
        midi_file.parse((tmp_path / line["path"]).read_bytes()).from_first_onset() for line in lines
    ]


def test_a_record_says_where_its_piece_comes_from(tmp_path):
    run(tmp_path)
    lines = [line for line in manifest.read(str(tmp_path)) if line["num_notes"]]
    found = records.read_records((tmp_path / RECORDS).read_bytes())
    assert [json.loads(records.split_features(record)["provenance"]) for record in found] == lines


def test_a_piece_without_notes_has_a_line_but_no_record(tmp_path):
    data = b'{"id": "c", "num_samples": 30, "max_notes": 1}'  # the fake makes 0 notes or 1
    run(tmp_path, data=data)
    lines = manifest.read(str(tmp_path))
    counts = [line["num_notes"] for line in lines]
    assert len(counts) == 30
    assert set(counts) == {0, 1}
    shards = [path.read_bytes() for path in (tmp_path / "records").iterdir()]
    assert len(shards) == 4
    assert sum(len(list(records.read_records(shard))) for shard in shards) == sum(counts)
    for path in (tmp_path / "manifest").iterdir():
        path.unlink()
    run(tmp_path, data=data)  # reads the empty pieces back
    assert manifest.read(str(tmp_path)) == lines


@pytest.mark.parametrize("layout", ["mid", "tar"])
def test_any_number_of_tasks_in_any_order_gives_the_same_files(tmp_path, monkeypatch, layout):
    monkeypatch.setattr("generation_jobs.output.shards._DEFAULT_PIECES", (1, 2))
    pieces_per_shard = 2 if layout == "tar" else None
    run(tmp_path / "one", pieces_per_shard=pieces_per_shard)
    for index in (2, 0, 3, 1):
        run(tmp_path / "four", pieces_per_shard=pieces_per_shard, num_tasks=4, task_index=index)
    run(tmp_path / "other", pieces_per_shard=pieces_per_shard, num_tasks=2, task_index=1)
    run(tmp_path / "other", pieces_per_shard=pieces_per_shard)  # one task continues
    assert files_of(tmp_path / "one") == files_of(tmp_path / "four") == files_of(tmp_path / "other")
    assert len(files_of(tmp_path / "one")) == 2 + (4 * 3 if layout == "tar" else 6 + 3 * 6)


def test_another_rng_seed_gives_other_music_and_the_same_primer(tmp_path):
    run(tmp_path / "one")
    run(tmp_path / "other", rng_seed=8)
    ids = [{line["piece_id"] for line in manifest.read(str(tmp_path / name))} for name in ("one", "other")]
    assert len(ids[0] & ids[1]) < 3  # two pieces without notes may agree


@pytest.mark.parametrize("stop_after", range(7))
def test_a_restart_after_a_kill_makes_only_unfinished_pieces(tmp_path, stop_after):
    run(tmp_path / "straight")
    killed = FakeDecoder(stop_after=stop_after)
    if stop_after < 6:
        with pytest.raises(RuntimeError, match="killed"):
            run(tmp_path / "killed", killed)
        assert not (tmp_path / "killed" / MANIFEST).exists()
    restarted = FakeDecoder()
    summary = run(tmp_path / "killed", restarted)
    assert restarted.asked == 6 - stop_after or stop_after == 6
    assert summary.num_made == restarted.asked
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "straight")


def test_a_restart_after_a_kill_between_the_last_files_finishes_without_a_decoder(tmp_path):
    run(tmp_path)
    want = files_of(tmp_path)
    (tmp_path / MANIFEST).unlink()
    (tmp_path / RECORDS).unlink()
    summary = task.run(make_job(tmp_path), lambda: pytest.fail("nothing is missing"), StopSignal())
    assert files_of(tmp_path) == want
    assert (summary.num_samples, summary.num_made) == (6, 0)


def test_a_finished_task_does_not_read_its_pieces_again(tmp_path):
    run(tmp_path)
    path = tmp_path / "midi/a/a-00000.mid"
    path.write_bytes(bytes(path.stat().st_size))  # would be refused if it were read
    assert run(tmp_path).num_made == 0


def test_a_partial_file_is_not_taken_for_a_piece(tmp_path):
    run(tmp_path / "straight")
    (tmp_path / "killed/midi/a").mkdir(parents=True)
    (tmp_path / "killed/midi/a/.0123.partial").write_bytes(b"MThd")
    run(tmp_path / "killed")
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "straight")


def test_a_stop_takes_effect_between_two_pieces(tmp_path):
    stop = StopSignal()
    stop.requested = True
    with pytest.raises(Interrupted, match="1 pieces are whole; start the same command again"):
        task.run(make_job(tmp_path), FakeDecoder, stop)
    assert len([name for name in files_of(tmp_path) if name.endswith(".mid")]) == 1
    assert run(tmp_path).num_made == 5


def test_a_task_without_samples_is_done_at_once(tmp_path):
    data = b'{"id": "a", "num_samples": 1}'
    assert [run(tmp_path, data=data, num_tasks=3, task_index=index).num_samples for index in range(3)] == [1, 0, 0]
    assert len(manifest.read(str(tmp_path))) == 1


@pytest.mark.parametrize(
    "data",
    [b"", b"MThd", midi_writer.serialize(FakeDecoder()._result(make_job(pathlib.Path()).request(3)).notes)],
)
def test_a_foreign_file_is_named(tmp_path, data):
    path = tmp_path / "midi/a/a-00000.mid"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(UserError, match="a-00000.mid' is where a piece of this job belongs, but it does not say"):
        run(tmp_path)
    assert path.read_bytes() == data


def test_an_edited_piece_is_named(tmp_path):
    run(tmp_path)
    (tmp_path / MANIFEST).unlink()
    (tmp_path / SIZES).unlink()
    path = tmp_path / "midi/a/a-00000.mid"
    line, notes = piece_bytes.parse_midi(path.read_bytes(), time_base=MILLISECONDS)
    path.write_bytes(piece_bytes.serialize_midi(line, dataclasses.replace(notes, velocity=notes.velocity // 2 + 1)))
    with pytest.raises(UserError, match="its notes were changed later; move it away"):
        run(tmp_path)


def test_pieces_in_tar_shards_equal_the_loose_ones(tmp_path):
    run(tmp_path / "loose")
    run(tmp_path / "tar", pieces_per_shard=4)
    assert files_of(tmp_path / "tar").keys() == {
        "job.json", "seeds.jsonl",
        *(f"{name}-{shard}-of-00002.{kind}" for shard in ("00000", "00001") for name, kind in (
            ("midi/pieces", "tar"), ("records/generated", "tfrecord"), ("manifest/part", "jsonl"),
            ("sizes/part", "json"),
        )),
    }  # fmt: skip
    loose, tar = (manifest.read(str(tmp_path / name)) for name in ("loose", "tar"))
    assert [{**line, "path": ""} for line in tar] == [{**line, "path": ""} for line in loose]
    datas = {
        name: list(piece_files.read_pieces(str(tmp_path / name), [line["path"] for line in lines]))
        for name, lines in (("loose", loose), ("tar", tar))
    }
    for line, one, other in zip(tar, datas["loose"], datas["tar"], strict=True):
        assert piece_bytes.parse_midi(other, time_base=MILLISECONDS)[0] == line
        if line["num_notes"]:
            assert midi_file.parse(one) == midi_file.parse(other)


@pytest.mark.parametrize("stop_after", range(1, 6))
def test_a_signal_costs_a_tar_shard_nothing(tmp_path, stop_after):
    run(tmp_path / "straight", pieces_per_shard=4)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "killed", FakeDecoder(stop_after=stop_after), pieces_per_shard=4)
    restarted = FakeDecoder()
    run(tmp_path / "killed", restarted, pieces_per_shard=4)
    assert restarted.asked == 6 - stop_after
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "straight")  # nothing is left below unfinished/


def test_a_sudden_kill_costs_a_tar_shard_only_unsaved_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("generation_jobs.output.piece_files.PIECES_PER_SAVE", 2)
    run(tmp_path / "straight", pieces_per_shard=6)
    this_job = make_job(tmp_path / "killed", pieces_per_shard=6)
    files = piece_files.TarFiles(this_job.output, this_job.shards, pieces_per_save=2)
    keeper = PieceKeeper(this_job)
    keeper.files = files
    for number in (4, 2, 3):
        keeper.keep(task.PendingSample(number), FakeDecoder()._result(this_job.request(number)))
        files.save(all_of_them=False)
    assert [path.name for path in (tmp_path / "killed/unfinished").iterdir()] == ["pieces-00000-of-00001-00000.tar"]
    restarted = FakeDecoder()
    run(tmp_path / "killed", restarted, pieces_per_shard=6)
    assert restarted.asked == 4
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "straight")


@pytest.mark.parametrize("pieces_per_shard", [None, 2])
def test_two_tasks_on_one_share_keep_the_files_written_first(tmp_path, pieces_per_shard):
    """The second task rounds differently, as on another machine."""
    run(tmp_path / "first", pieces_per_shard=pieces_per_shard)

    class Other(FakeDecoder):
        def _result(self, request):
            return dataclasses.replace(super()._result(request), log_likelihood=0.125)

    class Meanwhile(Other):
        def generate(self, requests):
            run(tmp_path / "both", pieces_per_shard=pieces_per_shard)  # the other task, while this one loads
            yield from super().generate(requests)

    summary = run(tmp_path / "both", Meanwhile(), pieces_per_shard=pieces_per_shard)
    assert summary.num_made == 6
    assert files_of(tmp_path / "both") == files_of(tmp_path / "first")


def refuse_to_write(monkeypatch, ending: str, number: int, message: str) -> None:
    write = storage.write_bytes

    def refuse(path, data, **how):
        if path.endswith(ending):
            raise OSError(number, message, path)
        return write(path, data, **how)

    monkeypatch.setattr(storage, "write_bytes", refuse)


def test_a_piece_that_cannot_be_written_is_recorded_and_made_by_the_next_run(tmp_path, monkeypatch):
    run(tmp_path / "straight")
    refuse_to_write(monkeypatch, "b-00001.mid", 5, "Input/output error")
    summary = run(tmp_path / "music")
    assert (summary.num_samples, summary.num_made, summary.num_failed) == (6, 5, 1)
    (failure,) = (tmp_path / "music/failures/part-00000-of-00001.jsonl").read_text().splitlines()
    path = str(tmp_path / "music/midi/b/b-00001.mid")
    error = f"OSError: [Errno 5] Input/output error: {path!r}"
    assert json.loads(failure) == {"seed_id": "b", "sample": 1, "error": error}
    with pytest.raises(UserError) as refused:
        manifest.read(str(tmp_path / "music"))
    assert refused.value.problems == [
        f"'{tmp_path}/music' is not finished: there is no {MANIFEST} (1 of 1); {manifest.START_AGAIN}",
        f"'{tmp_path}/music/failures/part-00000-of-00001.jsonl' says which samples failed",
    ]
    monkeypatch.undo()
    again = FakeDecoder()
    assert run(tmp_path / "music", again).num_failed == 0 and again.asked == 1
    assert files_of(tmp_path / "music") == files_of(tmp_path / "straight")


def test_a_task_ends_after_many_failures_in_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(task, "MAX_FAILURES_IN_A_ROW", 4)
    refuse_to_write(monkeypatch, ".mid", 5, "Input/output error")
    with pytest.raises(RuntimeError, match="[456] pieces in a row failed: OSError: .*output error") as error:
        run(tmp_path)
    assert isinstance(error.value.__cause__, OSError)
    assert len((tmp_path / "failures/part-00000-of-00001.jsonl").read_text().splitlines()) >= 4


@pytest.mark.parametrize("pieces_per_shard", [None, 2, 6])
def test_a_full_disk_ends_the_task_and_names_the_path(tiny_disk, capsys, pieces_per_shard):
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes((1 << 20) - 8192))
    status = command.run("prog", lambda _: run(tiny_disk, pieces_per_shard=pieces_per_shard) and 0, [])
    *_, said = capsys.readouterr().err.splitlines()
    assert status == 1
    assert said.startswith(f"prog: '{tiny_disk}/")
    assert said.endswith(": No space left on device")
    ballast.unlink()
    assert run(tiny_disk, pieces_per_shard=pieces_per_shard).num_failed == 0
    run(tiny_disk.parent / "straight", pieces_per_shard=pieces_per_shard)
    assert files_of(tiny_disk) == files_of(tiny_disk.parent / "straight")


def test_only_unfinished_shards_are_in_memory(tmp_path, monkeypatch):
    """The pieces of a finished shard are released."""
    open_at_once = []
    settle = task._Share._settle

    def spy(share, outcome):
        settle(share, outcome)
        open_at_once.append(sum(map(len, share._open.values())))

    class InOrder(FakeDecoder):
        def generate(self, requests):
            yield from enumerate(map(self._result, requests))

    monkeypatch.setattr(task._Share, "_settle", spy)
    run(tmp_path, InOrder(), data=b'{"id": "a", "num_samples": 200, "max_notes": 3}', pieces_per_shard=10)
    assert max(open_at_once) <= 10
    assert collections.Counter(line["seed_id"] for line in manifest.read(str(tmp_path))) == {"a": 200}


def test_the_batch_size_does_not_change_the_music(tmp_path):
    run(tmp_path / "one")
    task.run(make_job(tmp_path / "batches"), FakeDecoder, StopSignal(), batch_size=4)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "batches")
