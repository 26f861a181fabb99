"""Synthetic input, the same on every machine: performances, a folder of MIDI files, a bundle.

A performance wanders over the keyboard in chords and runs with uneven timing, so that its columns, file sizes and
histograms resemble those of piano corpora (two bytes per delta time, most of 88 pitches, many velocities).
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import symusic

from midi_codec import fields
from midi_codec.midi import midi_writer
from midi_codec.music.notes import MILLISECONDS, Notes
from trainer import bundle

NEVER_LOGIT = -100.0  # of END: no piece ends by itself, so the number of notes is known


def make_notes(key: int, num_notes: int) -> Notes:
    """A performance of `num_notes` notes, which depends only on its key."""
    rng = np.random.Generator(np.random.Philox(key))
    in_chord = rng.random(num_notes) < 0.45
    step = np.where(in_chord, rng.integers(0, 12, num_notes), rng.lognormal(4.9, 0.6, num_notes).astype(np.int64))
    step[0] = 0
    middle = np.cumsum(rng.normal(0, 1.5, num_notes))
    pitch = 64 + 20 * np.sin(middle / 20) + rng.normal(0, 9, num_notes)
    return Notes.from_columns(
        pitch=np.clip(pitch, 21, 108).astype(np.int64),
        velocity=np.clip(rng.normal(66, 18, num_notes), 1, 127).astype(np.int64),
        start=np.cumsum(step),
        duration=np.clip(rng.lognormal(5.4, 0.8, num_notes), 20, 8000).astype(np.int64),
        program=np.zeros(num_notes, np.int64),
        tempo=120.0,
        time_base=MILLISECONDS,
    )


def write_corpus(folder: pathlib.Path, *, num_files: int, mean_notes: int) -> int:
    """Writes `<number>.mid` files of 0.5 to 1.5 times `mean_notes` notes; returns the total number of notes."""
    total = 0
    for key in range(num_files):
        size = mean_notes // 2 + (mean_notes * key) // max(1, num_files - 1) if num_files > 1 else mean_notes
        notes = make_notes(key, size)
        total += size
        (folder / f"{key:05d}.mid").write_bytes(midi_writer.serialize(notes))
    return total


def write_copies(folder: pathlib.Path, originals: Sequence[pathlib.Path], *, num_files: int) -> int:
    """Writes copies of the MIDI files in turn, each with other pitches; returns the total number of notes.

    Tracks, times, controls and tempos stay; each copy has its own permutation of pitches, which keeps no interval. So
    the files cost what real ones cost, and no two are the same music.
    """
    total = 0
    for key in range(num_files):
        score: Any = symusic.Score.from_midi(originals[key % len(originals)].read_bytes())
        permuted = np.random.Generator(np.random.Philox(key)).permutation(128).astype(np.int8)
        for track in score.tracks:
            columns = track.notes.numpy()
            pitch = permuted[columns["pitch"]]
            track.notes = type(track.notes).from_numpy(columns["time"], columns["duration"], pitch, columns["velocity"])
            total += len(pitch)
        path = folder / f"{key % 100:02d}" / f"{key:06d}.mid"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(score.dumps_midi())
    return total


def make_table(num_notes: int = 20_000) -> fields.FieldTable:
    """The field table of a corpus of such performances: one program, binned time."""
    notes = make_notes(0, num_notes)
    histograms = {name: np.unique(getattr(notes, name), return_counts=True) for name in ("step", "duration")}
    return fields.build_field_table(histograms, programs=(0,), time_base=MILLISECONDS)


def make_bundle(*, units: int, layers: int, head_units: int) -> bundle.Bundle:
    """A model with random weights that never ends a piece; imports TensorFlow."""
    import keras

    from trainer.model.model_config import ModelConfig
    from trainer.model.note_model import NoteModel

    keras.utils.set_random_seed(0)
    config: dict[str, Any] = {"units": units, "layers": layers, "head_units": head_units, "dropout": 0.0}
    model = NoteModel(ModelConfig(**config), make_table())
    weights = bundle.get_weights(model)
    weights["head_bias"][model.end_column] = NEVER_LOGIT
    return bundle.Bundle(config=config, fields=model.table, dataset={}, metrics={}, deviations={}, weights=weights)
