"""Labels from the flags of an encode to records, `dataset_info.json`, and what shows them."""

import collections
import json

import pytest

from beam_pipelines.inspect.__main__ import main as inspect
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import SPLITS
from tests.beam_pipelines.corpora import make_midi, write_files
from tests.beam_pipelines.test_encode_corpus import encode, files_of, pieces_of

MUSIC = {f"{'Bach' if number % 3 else 'Haydn'}/{number:02d}.mid": make_midi(number) for number in range(30)}
COPIES = {"Zelenka/copy.mid": MUSIC["Bach/01.mid"], "Zelenka/empty.mid": b""}
REGEX = ("--label-regex", "^(?P<composer>[^/]+)/", "--split-percents", "60,20,20")


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("labels") / "music", {**MUSIC, **COPIES})


@pytest.fixture(scope="module")
def side_car(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    path.write_text("path,year\n" + "".join(f"{name},{1700 + n % 4}\n" for n, name in enumerate(sorted(MUSIC)[:20])))
    return path


@pytest.fixture(scope="module")
def labelled(music, side_car, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels") / "dataset"
    encode("--input", music, "--output", str(folder), "--labels", str(side_car), *REGEX)
    return folder


def recounted(folder):
    """`DatasetInfo.labels`, from the records."""
    counts = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
    for split in SPLITS:
        for piece in pieces_of(folder, split):
            for name, value in piece.labels.items():
                counts[name][split][value] += 1
    return counts


def test_records_and_info_have_labels(labelled, side_car):
    info = dataset_info.load(str(labelled))
    assert info.labels == recounted(labelled)
    assert sum(info.labels["composer"]["train"].values()) == info.splits["train"].num_pieces
    assert {value for values in info.labels["composer"].values() for value in values} == {"Bach", "Haydn"}  # not a copy
    years = dict(line.split(",") for line in side_car.read_text().splitlines())
    for piece in (piece for split in SPLITS for piece in pieces_of(labelled, split)):
        assert piece.labels["composer"] == piece.source.split("/")[0]
        assert piece.labels.get("year") == years.get(piece.source)
    assert info.settings["label_regex"] == REGEX[1] and len(info.settings["label_file"]) == 32


def test_tasks_write_the_same_bytes(labelled, music, side_car, tmp_path):
    flags = ("--input", music, "--output", str(tmp_path), "--labels", str(side_car), *REGEX)
    for index in "01":
        encode(*flags, "--task-index", index, "--num-tasks", "2")
    encode(*flags)
    assert files_of(tmp_path) == files_of(labelled)


def test_without_labels_nothing_is_different(music, tmp_path, capsys):
    encode("--input", music, "--output", str(tmp_path))
    assert "label" not in (tmp_path / "dataset_info.json").read_text()
    assert dataset_info.load(str(tmp_path)).labels == {}
    assert "\n  label " not in capsys.readouterr().out


def test_another_file_of_labels_is_another_dataset(labelled, music, side_car, tmp_path):
    other = tmp_path / "labels.csv"
    other.write_text(side_car.read_text().replace(",1701", ",1801"))
    with pytest.raises(UserError, match="label_file"):
        encode("--input", music, "--output", str(labelled), "--labels", str(other), *REGEX)


def test_old_pieces_keep_their_labels(labelled, tmp_path):
    more = write_files(tmp_path / "more", {"Liszt/new.mid": make_midi(99)})
    path = tmp_path / "new.jsonl"
    path.write_text('{"path": "Liszt/new.mid", "year": 1852, "country": "Hungary"}\n')
    flags = ("--input", more, "--add-to", str(labelled), "--labels", str(path), *REGEX)
    encode(*flags, "--output", str(tmp_path / "v2"))
    old, new = recounted(labelled), recounted(tmp_path / "v2")
    assert dataset_info.load(str(tmp_path / "v2")).labels == new
    assert sum(new["country"].values(), collections.Counter()) == {"Hungary": 1}
    for name in ("composer", "year"):
        added = sum(new[name].values(), collections.Counter())
        assert added - sum(old[name].values(), collections.Counter()) == {"Liszt" if name == "composer" else "1852": 1}
    with pytest.raises(UserError, match="its label_regex is .* but None is asked for"):
        encode("--input", more, "--add-to", str(labelled), "--output", str(tmp_path / "v3"))


def test_all_problems_with_labels_at_once(music, tmp_path):
    flags = ("--label-regex", "x", "--label-attributes", "mood", "--labels-key", "a", "--num-shards", "0")
    with pytest.raises(UserError) as error:
        encode("--input", music, "--output", str(tmp_path / "d"), *flags)
    assert [problem.split(" is ")[0] for problem in error.value.problems] == [
        "--num-shards",
        "--label-regex",
        "--label-attributes",
        "--labels-key",
    ]


def test_inspect_shows_labels(labelled, capsys):
    inspect([str(labelled)])
    shown = capsys.readouterr().out
    assert "Labels, and how many pieces have each value\n  composer: Bach 20, Haydn 10\n  year: " in shown
    inspect([str(labelled), "--piece", "Haydn/00.mid"])
    assert "\nlabels composer Haydn\n" in capsys.readouterr().out
    inspect([str(labelled), "--json", "--no-records"])
    described = json.loads(capsys.readouterr().out)["labels"]
    assert described == json.loads(json.dumps(recounted(labelled)))


def test_the_survey_counts_labels(music, capsys):
    encode("--input", music, "--survey", "--label-attributes", "timing", *REGEX[:2])
    shown = capsys.readouterr().out
    assert "\n  label composer: Bach 20, Haydn 10\n  label timing: expressive 30\n" in shown
