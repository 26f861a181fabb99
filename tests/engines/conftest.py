"""One small corpus for all engines, its dataset as no engine makes it, and clouds to run them on."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from midi_codec import midi_file, storage
from tests.beam_pipelines.corpora import make_notes, write_files
from tests.engines import runs
from tests.servers import GcsServer, MetadataServer, metadata

NUM_PIECES = 60


def _make_music() -> dict[str, bytes]:
    """Pieces, some of them twice, some a third higher, and what is no piece."""
    pieces = {number: make_notes(number, num_notes=120) for number in range(NUM_PIECES)}
    files = {f"{number % 5}/{number}.mid": midi_file.serialize(notes) for number, notes in pieces.items()}
    for number in range(0, NUM_PIECES, 7):
        files[f"again/{number}.mid"] = files[f"{number % 5}/{number}.mid"]
    for number in range(0, NUM_PIECES, 11):
        files[f"higher/{number}.mid"] = midi_file.serialize(_higher(pieces[number]))
    return {**files, "broken.mid": b"x", "empty.mid": b"", "cover.jpg": b"", "ä b%20#?.mid": files["1/1.mid"]}


def _higher(notes):
    columns = {name: getattr(notes, name) for name in ("pitch", "velocity", "start", "duration", "program")}
    return type(notes).from_columns(**{**columns, "pitch": (columns["pitch"].astype(int) + 4) % 128})


@pytest.fixture(scope="session")
def music(tmp_path_factory) -> str:
    return write_files(tmp_path_factory.mktemp("corpus"), _make_music())


@pytest.fixture(scope="session")
def plain(music, tmp_path_factory) -> dict[str, bytes]:
    """The dataset of the default run."""
    output = tmp_path_factory.mktemp("plain") / "d"
    runs.encode(music, output)
    return runs.files_of(output)


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
