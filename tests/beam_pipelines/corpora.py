"""Small corpora for tests of the encode job."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from beam_pipelines.settings.encode_settings import Settings
from beam_pipelines.settings.splits import SplitRule
from midi_codec.midi import midi_writer
from midi_codec.midi.midi_header import Limits
from midi_codec.music.notes import Notes
from midi_codec.music.signatures import Signatures


def make_notes(number: int, *, num_notes: int = 24) -> Notes:
    """A short piece of its own for each number; it begins after some silence."""
    rng = np.random.default_rng(number)
    return Notes.from_columns(
        pitch=rng.integers(0, 110, num_notes),
        velocity=rng.integers(1, 128, num_notes),
        start=250 + np.cumsum(rng.integers(0, 600, num_notes)),
        duration=rng.integers(0, 900, num_notes),
        program=rng.choice([0, 40, 128], num_notes),
    )


def make_midi(number: int, *, num_notes: int = 24, transpose: int = 0) -> bytes:
    """A piece of its own; transposed, it is nearly the same, and with some 200 notes that is noticed. Odd ones have
    signatures."""
    notes = make_notes(number, num_notes=num_notes)
    signatures = Signatures.parse("3/4", "D minor") if number % 2 else Signatures()
    return midi_writer.serialize(
        dataclasses.replace(notes, pitch=notes.pitch + np.uint8(transpose), signatures=signatures)
    )


def write_files(folder: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(folder)


def make_settings(**changes) -> Settings:
    fields: dict[str, Any] = {
        "inputs_hash": "0" * 32,
        "time_base": "milliseconds",
        "split_rule": SplitRule(percents=(90, 5, 5)),
        "num_shards": 1,
        "limits": Limits(),
    }
    return Settings(**{**fields, **changes})


MIXED = {
    "a.mid": make_midi(1),
    "B.MIDI": make_midi(2),
    "deep/er/c.kar": make_midi(3),
    "deep/copy-of-a.mid": make_midi(1),
    "deep/0-copy-of-c.mid": make_midi(3),
    "empty.mid": b"",
    "riff.rmi": b"RIFF\x04\x00\x00\x00RMID",
    "text.mid": b"not music",
    "notes.txt": b"not an input",
    "deep/cover.jpg": b"not an input either",
}
"""10 files: 8 inputs, of which 3 are examples, 2 duplicates and 3 rejects."""
