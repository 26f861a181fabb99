"""Real processes, kills and buckets."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from generation_jobs import generate
from generation_jobs.output import manifest, piece_bytes
from generation_jobs.seeds import seed_list
from generation_jobs.seeds.inline_notes import InlineNotes
from job_runtime import command, compile_cache, storage
from midi_codec.midi import midi_writer
from tests.generation_jobs.fakes import FakeDecoder, make_bundle
from tests.generation_jobs.seeds.test_primers import make_notes
from trainer import bundle

pytestmark = pytest.mark.slow

# The command with a fake decoder that takes a little time for every piece.
COMMAND = """
import sys, time
from generation_jobs import generate
from job_runtime import command
from tests.generation_jobs.fakes import FakeDecoder

class Slow(FakeDecoder):
    def generate(self, requests):
        for answer in super().generate(requests):
            time.sleep(float(sys.argv[1]))
            yield answer

generate._make_decoder = lambda *_: Slow()
sys.exit(command.run("generate", generate.main, sys.argv[2:]))
"""
NUM_PIECES = 60


def start(folder, output: str, *, pause: float = 0.02) -> subprocess.Popen:
    flags = ["--bundle", f"{folder}/bundle", "--seeds", f"{folder}/seeds.jsonl", "--output", f"{folder}/{output}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(pause), *flags], stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.fixture
def folder(tmp_path):
    bundle.save(str(tmp_path / "bundle"), make_bundle())
    (tmp_path / "seeds.jsonl").write_text(f'{{"id": "a", "num_samples": {NUM_PIECES}}}\n')
    return tmp_path


def files_of(root) -> dict[str, bytes]:
    """All but what a kill in the middle of a write leaves behind."""
    paths = [path for path in root.rglob("*") if path.is_file() and path.suffix != storage.PARTIAL_SUFFIX]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def pieces(root) -> dict[str, tuple[int, int]]:
    """Which pieces are whole, and which very files they are."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in root.rglob("*.mid")}


def test_kills_at_random_moments_lose_nothing_and_repeat_nothing(folder):
    process = start(folder, "straight")
    assert process.wait(60) == 0
    rng = random.Random(0)
    before: dict[str, tuple[int, int]] = {}
    kills = 0
    while True:
        process = start(folder, "killed")
        deadline = time.monotonic() + 60
        wanted = len(before) + rng.randrange(1, 20)
        while process.poll() is None and len(pieces(folder / "killed")) < wanted and time.monotonic() < deadline:
            time.sleep(rng.random() * 0.03)
        process.kill()
        status = process.wait(60)
        after = pieces(folder / "killed")
        assert before.items() <= after.items()  # the very same files: nothing was written again
        for name in after:
            data = (folder / "killed/midi/a" / name).read_bytes()
            assert piece_bytes.parse_midi(data, time_base="milliseconds")[0]["path"] == f"midi/a/{name}"
        before = after
        if status == 0:
            break
        kills += 1
        assert kills < 100
    assert kills >= 3
    assert files_of(folder / "killed") == files_of(folder / "straight")


def test_a_signal_ends_the_process_with_75(folder):
    process = start(folder, "music", pause=0.1)
    while process.poll() is None and not (folder / "music/midi").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75
    assert "start the same command again to continue" in process.stderr.read()
    assert 0 < len(pieces(folder / "music")) < NUM_PIECES
    process = start(folder, "music", pause=0)
    assert process.wait(60) == 0
    assert len(manifest.read(str(folder / "music"))) == NUM_PIECES


@pytest.mark.parametrize("kind", ["gs", "s3"])
def test_a_job_from_a_bucket_to_a_bucket(kind, request, tmp_path, monkeypatch):
    root = request.getfixturevalue(f"{kind}_bucket")
    monkeypatch.setattr(generate, "_make_decoder", lambda *_: FakeDecoder(stop_after=stop_after))
    bundle.save(f"{root}/bundle", make_bundle())
    storage.write_bytes(f"{root}/lists/riff.mid", midi_writer.serialize(make_notes(8)))
    seeds = [
        seed_list.Seed(id="relative", midi="riff.mid", num_notes=3),
        seed_list.Seed(id="absolute", midi=f"{root}/lists/riff.mid", num_notes=3, num_samples=5),
        seed_list.Seed(id="inline", notes=InlineNotes.from_notes(make_notes(3))),
    ]
    seed_list.write(f"{root}/lists/seeds.jsonl", seeds)

    def run(output: str) -> int:
        flags = ["--bundle", f"{root}/bundle", "--seeds", f"{root}/lists/seeds.jsonl", "--output", output]
        return command.run("generate", generate.main, [*flags, "--max-notes", "30"])

    stop_after = 3
    with pytest.raises(RuntimeError, match="killed"):
        run(f"{root}/music")
    assert len([e for e in storage.list_files(f"{root}/music") if e.path.endswith(".mid")]) == 3
    stop_after = None
    assert run(f"{root}/music/") == 0
    assert run(str(tmp_path / "music")) == 0
    lines = manifest.read(f"{root}/music")
    assert lines == manifest.read(str(tmp_path / "music"))
    assert [line["num_primer_notes"] for line in lines] == [3] * 7
    local = files_of(tmp_path / "music")
    assert {
        e.path.removeprefix(f"{root}/music/"): storage.read_bytes(e.path) for e in storage.list_files(f"{root}/music")
    } == local


def test_what_the_first_command_compiled_makes_the_same_pieces_in_the_second(tmp_path):
    environment = {**os.environ, compile_cache.VARIABLE: str(tmp_path / "cache")}
    entries, music = [], []
    for name in ("first", "second"):
        flags = ["--output", str(tmp_path / name), "--max-notes", "40", "--num-slots", "16"]
        subprocess.run([sys.executable, "-m", "generation_jobs.generate", *flags], env=environment, check=True)
        entries.append({path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.*")})
        music.append({path: data for path, data in files_of(tmp_path / name).items() if "run_info" not in path})
    assert entries[0] == entries[1] and sorted(name.rpartition(".")[2] for name in entries[0]) == ["pb", "sha256"]
    assert music[0] == music[1] and len(music[0]) > 1
