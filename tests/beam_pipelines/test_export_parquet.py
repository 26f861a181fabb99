"""A dataset as Parquet: its pieces, and what the card says of where they are from."""

import pytest
from pyarrow import parquet

from beam_pipelines import export_parquet
from beam_pipelines.encoding import ledger
from job_runtime import command
from job_runtime.command import Interrupted
from job_runtime.problem_report import UserError
from tests.beam_pipelines.corpora import make_notes
from tests.beam_pipelines.made_datasets import make_dataset

GROUP = "a" * 32


@pytest.fixture
def data(tmp_path):
    notes = [make_notes(number, num_notes=4 + number) for number in range(4)]
    rows = [
        ("train", "caf\udce9.mid", None, notes[0]),
        ("train", "b/1.mid", GROUP, notes[1]),
        ("train", "b/2.mid", GROUP, notes[2]),
        ("test", "c.mid", None, notes[3]),
    ]
    rejects = [ledger.Reject("z.mid", None, "read", "too_large", "9 bytes")]
    return make_dataset(tmp_path / "data", rows, rejects=rejects), {row[1]: row[3] for row in rows}


def test_every_piece_is_a_row(tmp_path, data, capsys):
    info, notes = data
    argv = ["--data", str(tmp_path / "data"), "--output", str(tmp_path / "out"), "--license", "pddl"]
    assert export_parquet.main(argv) == command.OK
    train = parquet.read_table(tmp_path / "out/data/train-00000-of-00001.parquet").to_pylist()
    assert {row["source"]: row["group_id"] for row in train} == {
        "caf\\xe9.mid": notes["caf\udce9.mid"].piece_id,
        "b/1.mid": GROUP,
        "b/2.mid": GROUP,
    }
    row = next(row for row in train if row["source"] == "b/1.mid")
    want = notes["b/1.mid"].from_first_onset()
    assert row["piece_id"] == want.piece_id and row["split"] == "train" and row["time_base"] == "milliseconds"
    for name in ("start", "duration", "pitch", "velocity", "program"):
        assert row[name] == getattr(want, name).tolist()
    assert (row["seconds_per_tick"], row["seconds"]) == (0.001, want.seconds)
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"Dataset: `{info.hash}`" in card and "Rejects: too_large 1\n" in card and "Duplicates: none\n" in card
    assert "# out\n\n4 pieces of music as columns of notes, from 5 MIDI files.\n" in card
    said = capsys.readouterr().out
    assert said.startswith(f"{tmp_path}/out: 4 pieces, {info.splits['train'].num_notes + 7} notes in 2 Parquet files, ")


def test_all_mistakes_at_once(tmp_path):
    with pytest.raises(UserError) as error:
        export_parquet.main(["--data", str(tmp_path), "--output", str(tmp_path / "out"), "--licence", "x"])
    assert error.value.problems == [
        "--licence is not known, did you mean --license?",
        "--license is missing, want an identifier of the music's licence such as cc-by-4.0, or unknown",
        f"{tmp_path} is not a complete dataset: no dataset_info.json",
    ]


def test_a_signal_ends_it_without_a_card(tmp_path, data, monkeypatch):
    monkeypatch.setattr(command.StopSignal, "__enter__", lambda self: setattr(self, "requested", True) or self)
    argv = ["--data", str(tmp_path / "data"), "--output", str(tmp_path / "out"), "--license", "pddl"]
    with pytest.raises(Interrupted):
        export_parquet.main(argv)
    assert not (tmp_path / "out" / "README.md").exists()
