"""One small corpus for all engines, its dataset as no engine makes it, and clouds to run them on."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from job_runtime import storage
from midi_codec.midi import midi_writer
from midi_codec.music.notes import Notes
from tests.beam_pipelines.corpora import write_files
from tests.engines import runs
from tests.servers import GcsServer, MetadataServer, metadata

NUM_PIECES = 60
PLAIN = (66, {"exact": 10, "near": 0}, {"empty": 1, "no_header": 1}, 6)  # so each kind is there to be got wrong


def _make_piece(number: int, *, higher: int = 0) -> bytes:
    """Two hundred notes on a piano, another piece for each number."""
    rng = np.random.default_rng(number)
    size = 200
    notes = Notes.from_columns(
        pitch=rng.integers(30, 90, size) + higher,
        velocity=rng.integers(1, 128, size),
        start=np.cumsum(rng.integers(20, 600, size)),
        duration=rng.integers(10, 900, size),
        program=np.zeros(size, int),
    )
    return midi_writer.serialize(notes)


def _make_music() -> dict[str, bytes]:
    """Pieces, some of them twice, some a third higher, and what is no piece."""
    files = {f"{number % 5}/{number}.mid": _make_piece(number) for number in range(NUM_PIECES)}
    again = {f"again/{number}.mid": _make_piece(number) for number in range(0, NUM_PIECES, 7)}
    higher = {f"higher/{number}.mid": _make_piece(number, higher=4) for number in range(0, NUM_PIECES, 11)}
    odd = {"broken.mid": b"x", "empty.mid": b"", "cover.jpg": b"", "ä b%20#?.mid": _make_piece(1)}
    return {**files, **again, **higher, **odd}


@pytest.fixture(scope="session")
def music(tmp_path_factory) -> str:
    return write_files(tmp_path_factory.mktemp("corpus"), _make_music())


@pytest.fixture(scope="session")
def plain(music, tmp_path_factory) -> dict[str, bytes]:
    """The dataset of the default run."""
    output = tmp_path_factory.mktemp("plain") / "d"
    runs.encode(music, output)
    files = runs.files_of(output)
    info = json.loads(files["dataset_info.json"])
    assert (info["examples"], info["duplicates"], info["rejects"], info["groups"]["groups"]) == PLAIN
    return files


@pytest.fixture(scope="session")
def metadata_server() -> Iterator[MetadataServer]:
    with metadata() as server:
        yield server


@pytest.fixture(scope="session")
def google(gcs_server: GcsServer, metadata_server: MetadataServer) -> dict[str, str]:
    """The environment of a pod on Google's cloud, as it seems to the pod: names, TLS, credentials."""
    return {**gcs_server.production_env, **metadata_server.env}


@pytest.fixture
def copy_music(music) -> Callable[[str], str]:
    """Puts the corpus into a bucket; the folder it is in then."""

    def copy(bucket: str) -> str:
        folder = f"{bucket}/midi-{uuid.uuid4().hex[:4]}"
        for path in sorted(Path(music).rglob("*.*")):
            storage.write_bytes(f"{folder}/{path.relative_to(music)}", path.read_bytes())
        return folder

    return copy
