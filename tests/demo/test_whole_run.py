"""The whole way on music of the user's own, as `make run CORPUS=… QUICK=1` goes it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from midi_codec.midi import midi_writer
from midi_codec.music.notes import Notes

ROOT = Path(__file__).parent.parent.parent
NUM_FILES = 40


def make_corpus(folder):
    """Scales up and down from many keys, so that there is something to learn."""
    folder.mkdir()
    for number in range(NUM_FILES):
        count = 60 + number
        degrees = np.abs(np.arange(count) % 14 - 7)
        pitch = 40 + number + np.array([0, 2, 4, 5, 7, 9, 11, 12])[degrees]
        notes = Notes.from_columns(
            pitch=pitch,
            velocity=np.full(count, 70),
            start=np.arange(count) * 250,
            duration=np.full(count, 240),
            program=np.zeros(count, np.int64),
        )
        (folder / f"scale {number:02d}.mid").write_bytes(midi_writer.serialize(notes))
    (folder / "broken.mid").write_bytes(b"MThd, but no more")


def start(corpus, output):
    line = [sys.executable, "-m", "demo.run", "--corpus", str(corpus), "--quick", "--output", str(output)]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_own_music_stopped_in_training_then_finished_then_not_repeated(tmp_path):
    make_corpus(tmp_path / "my music")

    process = start(tmp_path / "my music", tmp_path / "run")
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("training on"):
            break
    time.sleep(5)  # some steps
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75

    process = start(tmp_path / "my music", tmp_path / "run")
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "[2/8] encode: already done" in out
    assert "[3/8] train: python -m trainer.task" in out
    assert "; 1 file not used" in out
    assert "generated     16 pieces, " in out

    (folder,) = (tmp_path / "run").glob("corpus-*/quick")
    assert "[2/2] first report: already done" in out
    assert len(list(folder.glob("first/music/midi/*/*.mid"))) == 10
    assert (folder / "first/report.html").stat().st_size > 10_000
    assert (folder / "report.html").stat().st_size > 10_000
    assert len(list(folder.glob("music/midi/*/*.mid"))) == 16

    before = {path: os.stat(path).st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    out, _ = start(tmp_path / "my music", tmp_path / "run").communicate()
    assert out.count("already done") == 9
    assert {path: os.stat(path).st_mtime_ns for path in before} == before
