"""Corpora of a few files: every split gets a group, whoever does the work, or the encode says what is missing."""

import pytest

from beam_pipelines import encode_corpus
from job_runtime import command
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from tests.beam_pipelines.corpora import make_midi, write_files
from tests.beam_pipelines.execution.test_base_dataset import outcome
from tests.beam_pipelines.test_encode_corpus import encode, files_of

NEAR = {f"{number}.mid": make_midi(5, num_notes=200, transpose=number) for number in range(4)}


def split_sizes(folder) -> dict[str, int]:
    return {split: part.num_pieces for split, part in dataset_info.load(str(folder)).splits.items()}


@pytest.mark.parametrize("num_files", [3, 4, 5, 10, 20])
def test_every_split_has_a_piece(tmp_path, num_files):
    for first in (0, 100):
        music = write_files(tmp_path / f"music{first}", {f"{n}.mid": make_midi(n + first) for n in range(num_files)})
        encode("--input", music, "--output", str(tmp_path / f"d{first}"))
        sizes = split_sizes(tmp_path / f"d{first}")
        assert min(sizes.values()) >= 1 and sum(sizes.values()) == num_files


def test_the_same_bytes_from_tasks_and_from_beam(tmp_path, capsys):
    music = write_files(tmp_path / "music", {f"{n}.mid": make_midi(n) for n in range(5)})
    encode("--input", music, "--output", str(tmp_path / "alone"))
    assert "would have been empty" in capsys.readouterr().out
    for index in range(2):
        encode("--input", music, "--output", str(tmp_path / "tasks"), "--num-tasks", "2", "--task-index", str(index))
    encode("--input", music, "--output", str(tmp_path / "tasks"))
    encode("--input", music, "--output", str(tmp_path / "beam"), "--runner", "FnApiRunner")
    assert files_of(tmp_path / "alone") == files_of(tmp_path / "tasks") == files_of(tmp_path / "beam")
    info = dataset_info.load(str(tmp_path / "alone"))
    assert info == dataset_info.DatasetInfo.from_json(info.to_json())
    assert info.moved_groups and set(info.moved_groups.values()) <= set(dataset_info.SPLITS)
    for group, split in info.moved_groups.items():
        assert {where for where, of, _ in outcome(tmp_path / "alone").values() if of == group} == {split}
    histogram = info.histograms["validation"]["pitch"]
    assert sum(histogram.counts) == info.splits["validation"].num_notes > 0


@pytest.mark.parametrize(
    ("num_files", "flags", "is_said"),
    [
        (24, [], False),
        (25, [], True),
        (25, ["--split-percents", "80,20,0"], False),
        (25, ["--split-regex", "(val)"], False),
    ],
)
def test_few_pieces_for_validation(tmp_path, capsys, num_files, flags, is_said):
    music = write_files(tmp_path / "music", {f"val{n}.mid": make_midi(n) for n in range(num_files)})
    encode("--input", music, "--output", str(tmp_path / "d"), *flags)
    few = "  validation has 1 piece, too few to measure much"
    line = f"{few}; --split-percents 80,20,0, with another --output, holds out more"
    assert (line in capsys.readouterr().out.splitlines()) == is_said


def test_newcomers_move_nobody(tmp_path):
    music = write_files(tmp_path / "music", {f"{n}.mid": make_midi(n) for n in range(5)})
    encode("--input", music, "--output", str(tmp_path / "v1"))
    before, moved = outcome(tmp_path / "v1"), dataset_info.load(str(tmp_path / "v1")).moved_groups
    assert moved
    write_files(tmp_path / "music", {f"new{n}.mid": make_midi(n) for n in range(50, 90)})
    encode("--input", music, "--output", str(tmp_path / "v2"), "--add-to", str(tmp_path / "v1"))
    after = outcome(tmp_path / "v2")
    assert {source: after[source] for source in before} == before
    assert dataset_info.load(str(tmp_path / "v2")).moved_groups == moved


@pytest.mark.parametrize(("num_files", "counted"), [(1, "1 file"), (2, "2 files")])
def test_fewer_files_than_splits_end_before_any_work(tmp_path, num_files, counted):
    music = write_files(tmp_path / "music", {f"train/{n}.mid": make_midi(n) for n in range(num_files)})
    with pytest.raises(UserError) as error:
        encode("--input", music, "--output", str(tmp_path / "d"))
    assert error.value.problems == [
        f"--input gives {counted}, too few for 3 splits (train, validation, test); want more music, or fewer "
        "splits than --split-percents 90,5,5 asks for, such as --split-percents 100,0,0"
    ]
    assert not (tmp_path / "d").exists()
    assert encode("--input", music, "--output", str(tmp_path / "d"), "--split-percents", "100,0,0") == 0
    assert encode("--input", music, "--output", str(tmp_path / "r"), "--split-regex", "^(train)/") == 0


@pytest.mark.parametrize("engine", [(), ("--runner", "FnApiRunner")])
def test_files_that_belong_together_are_too_few_for_three_splits(tmp_path, engine):
    music = write_files(tmp_path / "music", {**NEAR, "broken.mid": b"no music"})
    flags = ("--input", music, "--output", str(tmp_path / "d"))
    with pytest.raises(UserError) as error:
        encode(*flags, *engine)
    assert error.value.problems == [
        "5 inputs gave 4 pieces in 1 group of what belongs together (see --near-duplicates and --group-regex), too "
        "few for 3 splits (train, validation, test); want more music, or fewer splits than --split-percents 90,5,5 "
        "asks for, such as --split-percents 100,0,0",
        f"1 input gave no piece (no_header 1); see the ledgers in {tmp_path / 'd'}",
    ]
    assert not (tmp_path / "d" / "dataset_info.json").exists()
    assert command.run("encode", encode_corpus.main, [*flags, *engine]) == command.USER_ERROR
    assert encode(*flags, "--near-duplicates", "keep") == 0
