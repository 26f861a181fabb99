import dataclasses

import keras
import numpy as np
import pytest

from demo import box_model, run
from generation_jobs.seeds import seed_list
from job_runtime import command, storage
from job_runtime.command import StopSignal
from job_runtime.problem_report import UserError
from job_runtime.storage import array_file
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.split_reader import read_split
from midi_codec.fields import FieldTable
from midi_codec.music.notes import TIME_BASES
from tests.generation_jobs.fakes import make_bundle
from tests.trainer.tiny import ALL_PITCHES, make_many, make_table, write_dataset
from trainer import box_model as package
from trainer import bundle, config, yaml_file
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel


def test_packing_keeps_the_model_and_halves_its_weights(tmp_path):
    weights = {"a/b": np.array([[1.0, -0.5], [2.0**-14, 3.0]], np.float32)}  # what float16 holds exactly
    table = make_bundle().fields
    one_program = FieldTable(table.fields[:4], table.time_base, 0)
    source = dataclasses.replace(make_bundle(), weights=weights, fields=one_program)
    bundle.save(str(tmp_path / "bundle"), source)
    box_model.pack(str(tmp_path / "bundle"), str(tmp_path / "packed"))
    packed = bundle.load(str(tmp_path / "packed"))
    assert (packed.config, packed.dataset, packed.metrics) == (source.config, source.dataset, source.metrics)
    assert packed.hash == source.hash
    assert np.array_equal(packed.weights["a/b"], weights["a/b"])
    (stored,) = array_file.read(str(tmp_path / "packed" / f"weights-{packed.hash}.npz")).values()
    assert stored.dtype == np.float16


@pytest.mark.parametrize(
    "values, max_bytes, want",
    [
        ([1.0, 2.0], 3, ["the weights take 4 bytes as float16, want at most 3"]),
        ([1e6], 9, ["a has values that float16 does not hold"]),
    ],
)
def test_what_does_not_fit(values, max_bytes, want):
    given = dataclasses.replace(make_bundle(), weights={"a": np.array(values, np.float32)})
    with np.errstate(over="ignore"), pytest.raises(UserError) as error:
        bundle.as_float16(given, max_bytes=max_bytes)
    assert error.value.problems == want


def test_the_settings_are_those_of_a_training():
    for time_base in TIME_BASES:
        values = {
            name: config.read_value(name, value)  # raises ValueError if it is wrong
            for name, value in yaml_file.load(box_model.SETTINGS.format(time_base)).items()
        }
        assert config.TrainConfig(**values).problems() == []


def test_a_packed_model_has_a_place_for_every_program(tmp_path):
    table = make_table(programs=(0, 6, 128), pitches=ALL_PITCHES)
    keras.utils.set_random_seed(3)
    shape = ModelConfig(units=16, layers=1, head_units=16)
    weights = bundle.get_weights(NoteModel(shape, table))
    trained = dataclasses.replace(make_bundle(), config=dataclasses.asdict(shape), fields=table, weights=weights)
    whole = box_model.with_all_programs(trained)
    assert whole.fields["program"].values == tuple(range(129)) and whole.fields["pitch"] == table["pitch"]
    before, after = weights["embedding_program"], whole.weights["embedding_program"]
    for program, row in ((0, before[0]), (6, before[1]), (128, before[2]), (129, before[3])):
        np.testing.assert_array_equal(after[program], row)
    np.testing.assert_allclose(after[[3, 90]], [before[:2].mean(axis=0)] * 2, rtol=1e-6)
    whole.build_model()
    one = dataclasses.replace(trained, fields=FieldTable(table.fields[:-1], table.time_base, 0))
    assert box_model.with_all_programs(one) is one


def test_styles_are_openings_of_held_out_pieces_of_each_source(tmp_path):
    notes = make_many([20, 15, 30, 16])
    info = write_dataset(str(tmp_path / "data"), {"validation": notes})
    sources = ["x/tunes/a.mid", "x/tunes/b.mid", "y.tar.gz!openscore/songs/c.mid", "z/other.mid"]
    (path,) = dataset_info.shard_paths(str(tmp_path / "data"), info, "validation")
    examples = [
        records.serialize_example(records.Piece(piece.piece_id, piece.piece_id, source, piece))
        for piece, source in zip(notes, sources, strict=True)
    ]
    storage.write_bytes(path, records.write_records(examples))
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "drums.jsonl").write_text("")
    box_model.write_styles(str(tmp_path / "data"), str(tmp_path / "styles"))
    lists = {path.name: seed_list.read(str(path)).seeds for path in (tmp_path / "styles").iterdir()}
    assert {name: len(seeds) for name, seeds in lists.items()} == {"songs.jsonl": 1, "tunes.jsonl": 1}
    assert lists["tunes.jsonl"][0].notes.pitch.tolist() == notes[0].pitch[:16].tolist()


def test_tunes_alone_have_their_style(tmp_path):
    write_dataset(str(tmp_path / "data"), {"validation": make_many([20, 15, 30])})  # no folders
    box_model.write_styles(str(tmp_path / "data"), str(tmp_path / "styles"))
    lists = {path.name: len(seed_list.read(str(path)).seeds) for path in (tmp_path / "styles").iterdir()}
    assert lists == {"tunes.jsonl": 2}


def test_a_packed_corpus_is_the_same_dataset(tmp_path):
    notes = make_many([20, 15, 30, 16])
    source, packed = str(tmp_path / "data"), str(tmp_path / "packed")
    info = write_dataset(source, {"train": notes[:3], "validation": notes[3:]})
    storage.write_bytes(f"{packed}/old.json", b"{}")
    box_model.pack_corpus(source, packed)
    there = dataset_info.load(packed)
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == [
        "dataset_info.json",
        "train-00000-of-00001.tfrecord.xz",
        "validation-00000-of-00001.tfrecord.xz",
    ]
    for split in ("train", "validation"):
        of_both = [
            list(map(records.serialize_example, read_split(*one, split))) for one in ((packed, there), (source, info))
        ]
        assert of_both[0] == of_both[1]
        want = np.unique(np.concatenate([each.pitch for each in (notes[:3] if split == "train" else notes[3:])]))
        assert there.histograms[split]["pitch"].values == tuple(want.tolist())
    assert (there.splits["train"].num_notes, there.splits["validation"].num_notes) == (65, 16)
    assert there.corpus_hash == info.corpus_hash == info.hash != there.hash
    box_model.pack_corpus(packed, str(tmp_path / "again"))
    assert dataset_info.load(str(tmp_path / "again")).corpus_hash == info.hash


def test_a_corpus_that_is_too_large_loses_training_pieces(tmp_path, capsys):
    source, packed = str(tmp_path / "data"), str(tmp_path / "packed")
    info = write_dataset(source, {"train": make_many([40] * 30), "validation": make_many([16])})
    box_model.pack_corpus(source, packed, max_bytes=1500)
    there = dataset_info.load(packed)
    kept = [piece.piece_id for piece in read_split(packed, there, "train")]
    every = [piece.piece_id for piece in read_split(source, info, "train")]
    assert 0 < len(kept) < 30 and sorted(kept) == sorted(every)[: len(kept)]
    assert kept == [piece_id for piece_id in every if piece_id in kept]
    assert (tmp_path / "packed/train-00000-of-00001.tfrecord.xz").stat().st_size <= 1500
    assert f"{len(kept)} of 30 training pieces" in capsys.readouterr().out


def test_a_folder_that_has_its_pieces_gets_no_others(tmp_path, monkeypatch, capsys):
    """The first steps of `make run` do not depend on the steps after, nor those on the model in the box."""
    lines = []
    monkeypatch.setattr("demo.steps.run_command", lambda line, stop: lines.append(line[2:]) or command.OK)
    plan = run.make_plan(run.make_parser().parse_args(["--output", str(tmp_path)]))
    run._first_pieces(plan, StopSignal())
    music, page = f"{tmp_path}/first/music", f"{tmp_path}/first/report.html"
    assert lines == [
        ["generation_jobs.generate", "--output", music, "--samples-per-seed", "10"],
        ["generation_jobs.report", "--music", music, "--output", page],
    ]
    (tmp_path / "first" / "music").mkdir()
    (tmp_path / "first" / "report.html").write_text("")
    run._first_pieces(plan, StopSignal())
    assert len(lines) == 2
    monkeypatch.setattr(package, "folder", lambda: str(tmp_path / "other"))
    bundle.save(str(tmp_path / "other"), make_bundle())
    run._first_pieces(plan, StopSignal())
    assert len(lines) == 4
    assert not (tmp_path / "steps.json").exists()
    assert f"10 pieces to hear, by the model that comes with this repository: {page}" in capsys.readouterr().out
