"""An export as other programs read it: pyarrow, `datasets`, mlcroissant; and its files."""

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import pytest
from pyarrow import parquet

from job_runtime import storage
from midi_codec.music.notes import BEATS, Notes
from midi_codec.music.signatures import Signatures
from midi_codec.parquet import export, parquet_files
from midi_codec.parquet.card import MARK, Description
from midi_codec.parquet.columns import Column, Row
from midi_codec.parquet.export import Source

OWN = (Column("source", "string", "a path"), Column("sample", "int32", "a number"))
DESCRIBED = Description("Two: songs", "cc-by-4.0", "A test.", {"Files": "2", "Settings": '{\n "a": 1\n}'})


def make_notes(*starts: int, program: int = 0, tempo: float = 120.0, signatures: tuple[str, ...] = ()) -> Notes:
    count = len(starts)
    notes = Notes.from_columns(
        pitch=np.arange(count) + 60,
        velocity=np.full(count, 80),
        start=np.array(starts, np.int64),
        duration=np.full(count, 12),
        program=np.full(count, program),
        tempo=tempo,
        time_base=BEATS,
    )
    return dataclasses.replace(notes, signatures=Signatures.parse(*signatures))


SONGS = {
    "train": [
        make_notes(0, 6, 6),
        make_notes(),
        make_notes(0, 24, program=128, tempo=90.0, signatures=("3/4@-24", "D minor@0")),
    ],
    "validation": [],
    "test": [make_notes(0)],
}


def write(root, songs=SONGS, described=DESCRIBED) -> list[parquet_files.Split]:
    sources = [Source(split, sum(map(len, pieces)), rows_of(split, pieces)) for split, pieces in songs.items()]
    return export.write(str(root), sources, own=OWN, described=described)


def rows_of(split: str, pieces: list[Notes]) -> Iterator[Row]:
    for number, notes in enumerate(pieces):
        yield Row({"piece_id": f"{split}{number}", "source": f"{number}.mid", "sample": number}, notes)


def files_of(root) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


THIRD = {
    "piece_id": "train2",
    "split": "train",
    "source": "2.mid",
    "sample": 2,
    "time_base": "beats",
    "tempo": 90.0,
    "seconds_per_tick": 60 / 90 / 24,
    "seconds": 36 * (60 / 90 / 24),
    "time_signatures": "3/4@-24",
    "key_signatures": "D minor@0",
    "num_notes": 2,
    "start": [0, 24],
    "duration": [12, 12],
    "pitch": [60, 61],
    "velocity": [80, 80],
    "program": [128, 128],
}


def test_rows_and_types(tmp_path):
    splits = write(tmp_path)
    assert [(split.name, split.num_pieces, split.num_notes, len(split.files)) for split in splits] == [
        ("train", 3, 5, 1),
        ("validation", 0, 0, 0),
        ("test", 1, 1, 1),
    ]
    table = parquet.read_table(tmp_path / "data/train-00000-of-00001.parquet")
    assert [f"{field.name} {field.type}" for field in table.schema] == [
        "piece_id string",
        "split string",
        "source string",
        "sample int32",
        "time_base string",
        "tempo float",
        "seconds_per_tick double",
        "seconds double",
        "time_signatures string",
        "key_signatures string",
        "num_notes int32",
        "start list<element: int32>",
        "duration list<element: int32>",
        "pitch list<element: uint8>",
        "velocity list<element: uint8>",
        "program list<element: uint8>",
    ]
    first, empty, third = table.to_pylist()
    assert (first["start"], first["pitch"], first["seconds"]) == ([0, 6, 6], [60, 61, 62], 18 / 48)
    assert (empty["time_signatures"], empty["key_signatures"]) == (None, None)
    assert (empty["num_notes"], empty["start"], empty["seconds"]) == (0, [], 0.0)
    assert third == THIRD


def test_datasets_loads_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets
    import huggingface_hub

    write(tmp_path / "songs")
    loaded = datasets.load_dataset(str(tmp_path / "songs"), cache_dir=str(tmp_path / "cache"))
    assert {split: part.num_rows for split, part in loaded.items()} == {"train": 3, "test": 1}
    assert loaded["train"][2] == THIRD
    assert loaded["train"].features["pitch"] == datasets.List(datasets.Value("uint8"))
    assert loaded["train"].features["tempo"] == datasets.Value("float32")
    card = huggingface_hub.DatasetCard.load(tmp_path / "songs" / "README.md").data
    assert (card.license, card.pretty_name, card.size_categories) == ("cc-by-4.0", "Two: songs", ["n<1K"])


def test_croissant_describes_it(tmp_path):
    import mlcroissant

    write(tmp_path)
    described = mlcroissant.Dataset(jsonld=str(tmp_path / "croissant.json"))
    assert not described.metadata.issues.errors
    assert (described.metadata.name, described.metadata.license) == ("Two: songs", ["cc-by-4.0"])
    assert [record_set.uuid for record_set in described.metadata.record_sets] == ["train", "test"]
    *_, third = described.records("train")
    read = {name.partition("/")[2]: value for name, value in third.items()}
    assert {name: value.decode() if isinstance(value, bytes) else value for name, value in read.items()} == THIRD


def test_the_card(tmp_path):
    write(tmp_path)
    header, page = (tmp_path / "README.md").read_text().split("---\n")[1:]
    assert header.splitlines()[:2] == ["license: cc-by-4.0", 'pretty_name: "Two: songs"']
    size = sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
    assert f"  download_size: {size}\n" in header and "- n<1K\n" in header
    assert "  - split: test\n    path: data/test-*.parquet\n" in header and "validation" not in header
    assert "| train | 3 | 5 | 0.00 | 1 |" in page
    assert "| start | list of int32 | onset in ticks; the first is 0, and they ascend |" in page
    assert "Files: 2\n" in page and 'Settings:\n\n    {\n     "a": 1\n    }\n' in page


def test_the_same_pieces_give_the_same_bytes(tmp_path):
    write(tmp_path / "a"), write(tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert len(files_of(tmp_path / "a")) == 4


def test_several_files_and_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_files, "ROWS_PER_GROUP", 2)
    rows = (Row({"piece_id": str(n)}, make_notes(*range(4))) for n in range(7))
    columns = export.all_columns(())
    split = parquet_files.write_split(str(tmp_path), "train", rows, columns=columns, num_notes=28, notes_per_file=10)
    names = [f"data/train-0000{index}-of-00003.parquet" for index in range(3)]
    assert [file.name for file in split.files] == names
    tables = [parquet.read_table(tmp_path / name)["piece_id"].to_pylist() for name in names]
    assert tables == [["0", "1", "2"], ["3", "4"], ["5", "6"]]
    assert parquet.ParquetFile(tmp_path / names[0]).num_row_groups == 2


def test_files_of_an_earlier_export_are_deleted_and_those_of_others_stay(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00000-of-00002.parquet").write_text("old")
    (tmp_path / "data" / "mine.parquet").write_text("mine")
    write(tmp_path)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "mine.parquet",
        "test-00000-of-00001.parquet",
        "train-00000-of-00001.parquet",
    ]


def test_the_card_comes_last_and_an_export_that_ends_early_has_none(tmp_path, monkeypatch):
    written = []
    real = storage.write_bytes
    monkeypatch.setattr(storage, "write_bytes", lambda path, data: written.append(path) or real(path, data))
    write(tmp_path)
    assert [path.removeprefix(f"{tmp_path}/") for path in written] == [
        "data/train-00000-of-00001.parquet",
        "data/test-00000-of-00001.parquet",
        "croissant.json",
        "README.md",
    ]

    def fail():
        yield Row({"piece_id": "x", "source": "x", "sample": 0}, make_notes(0))
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        export.write(str(tmp_path), [Source("train", 9, fail())], own=OWN, described=DESCRIBED)
    assert not (tmp_path / "README.md").exists()


@pytest.mark.parametrize(
    ("license", "name", "says"),
    [
        (None, None, "--license is missing, want an identifier of the music's licence such as cc-by-4.0, or unknown"),
        (
            "cc by",
            None,
            "--license is 'cc by', want an identifier of the Hub such as cc-by-4.0, or unknown",
        ),
        ("unknown", "a\nb", "--name is 'a\\nb', want a title of one line"),
        ("unknown", " ", "--name is ' ', want a title of one line"),
    ],
)
def test_wrong_flags(tmp_path, license, name, says):
    assert list(export.problems("--output", str(tmp_path), license, name)) == [says]


def test_a_page_of_somebody_else_is_not_replaced(tmp_path):
    assert list(export.problems("--output", str(tmp_path / "new"), "unknown", "x")) == []
    write(tmp_path)
    assert list(export.problems("--output", str(tmp_path), "unknown", "x")) == []
    path = tmp_path / "README.md"
    path.write_text(path.read_text().replace(MARK, ""))
    assert list(export.problems("--output", str(tmp_path), "unknown", "x")) == [
        f"--output '{tmp_path}' holds a README.md that no export wrote, want another folder"
    ]


def test_text_of_any_bytes_and_titles():
    assert export.plain("caf\udce9.mid") == "caf\\xe9.mid"
    assert export.title(None, "gs://bucket/songs/") == "songs" and export.title("Songs", "x") == "Songs"


def test_an_export_to_a_bucket(gs_bucket):
    sources = [Source("train", 1, iter([Row({"piece_id": "x", "source": "x", "sample": 0}, make_notes(0))]))]
    export.write(f"{gs_bucket}/out", sources, own=OWN, described=DESCRIBED)
    names = [entry.path.removeprefix(f"{gs_bucket}/out/") for entry in storage.list_files(f"{gs_bucket}/out/")]
    assert names == ["README.md", "croissant.json", "data/train-00000-of-00001.parquet"]
    assert json.loads(storage.read_bytes(f"{gs_bucket}/out/croissant.json"))["name"] == "Two: songs"
