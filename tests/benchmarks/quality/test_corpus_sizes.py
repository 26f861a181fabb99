"""The experiments on cuts of corpora, with a stand-in for the commands."""

import json
import shutil

import pytest

from benchmarks.quality import corpus_sizes
from job_runtime.problem_report import UserError
from tests.trainer.tiny import PIECES_BY_SPLIT, write_dataset


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "my tunes"
    for number in range(8):
        path = folder / str(number % 2) / f"{number}.MID"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"never read")
    (folder / "notes.txt").write_text("no music")
    return folder


@pytest.fixture
def started(monkeypatch):
    """The commands that were started, as they would leave their output."""
    lines = []

    def run_command(module, flags, stop):
        lines.append([module, *flags])
        output = flags[flags.index("--output") + 1]
        if module == "beam_pipelines.encode_corpus":
            write_dataset(output, PIECES_BY_SPLIT)

    monkeypatch.setattr(corpus_sizes, "run_command", run_command)
    monkeypatch.setattr(corpus_sizes, "figures", lambda dataset, run: {"nll": float(len(lines))})
    return lines


def test_a_line_for_each_experiment_and_none_is_repeated(corpus, tmp_path, started):
    output = tmp_path / "sizes"
    argv = ["--output", str(output), "--corpus", f"tunes={corpus}", "--num-files", "3", "--num-files", "5"]
    argv += ["--training", "--epochs 2", "--training", "--epochs 2 --dropout 0.5"]
    assert corpus_sizes.main(argv) == 0
    assert [line[0] for line in started] == 2 * ["beam_pipelines.encode_corpus", "trainer.task", "trainer.task"]
    assert started[2][-4:] == ["--epochs", "2", "--dropout", "0.5"]
    lines = [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
    assert [(line["corpus"], line["num_files"], line["training"], line["nll"]) for line in lines] == [
        ("tunes", 3, "--epochs 2", 2.0),
        ("tunes", 3, "--epochs 2 --dropout 0.5", 3.0),
        ("tunes", 5, "--epochs 2", 5.0),
        ("tunes", 5, "--epochs 2 --dropout 0.5", 6.0),
    ]
    small, large = (sorted(path.name for path in (output / f"tunes-{size}/corpus").iterdir()) for size in (3, 5))
    assert len(small) == 3 and len(large) == 5 and set(small) < set(large)
    started.clear()
    assert corpus_sizes.main([*argv, "--training", "--epochs 3"]) == 0
    assert [line[0] for line in started] == ["trainer.task", "trainer.task"]
    shutil.rmtree(output)


def test_all_mistakes_are_named_at_once(corpus, tmp_path):
    argv = ["--output", str(tmp_path / "sizes"), "--corpus", "tunes=nowhere", "--corpus", str(corpus)]
    with pytest.raises(UserError) as error:
        corpus_sizes.main([*argv, "--num-files", "2", "--training", "--epochs 0"])
    assert error.value.problems == [
        "--corpus is 'tunes=nowhere', want NAME=FOLDER with MIDI files in the folder",
        f"--corpus is '{corpus}', want NAME=FOLDER with MIDI files in the folder",
        "--training '--epochs 0': --epochs is '0', want a number above 0, or auto",
        "--num-files is 2, want 3 or more",
    ]
    assert not (tmp_path / "sizes").exists()
