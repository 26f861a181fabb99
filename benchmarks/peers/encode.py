"""MidiTok, pretty_midi and a bare symusic loop over MIDI files.

The first input line is a JSON object: for each case, the files that it reads. Start-up is not counted here, but is in
ours.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import miditok
import numpy as np
import pretty_midi
import symusic

from benchmarks.peers import serve


def read_with_pretty_midi(paths: list[str]) -> None:
    for path in paths:
        pretty_midi.PrettyMIDI(path)


def tokenize(tokenizer: miditok.REMI, paths: list[str]) -> None:
    for path in paths:
        tokenizer(symusic.Score(path))


def read_columns(paths: list[str]) -> None:
    """Reads and parses files, and makes columns of all tracks, sorted by time."""
    for path in paths:
        score: Any = symusic.Score.from_midi(pathlib.Path(path).read_bytes())
        tracks = [(track, track.notes.numpy()) for track in score.tracks if len(track.notes)]
        columns = {
            name: np.concatenate([notes[name] for _, notes in tracks])
            for name in ("time", "pitch", "duration", "velocity")
        }
        columns["program"] = np.repeat([t.program for t, _ in tracks], [len(notes["time"]) for _, notes in tracks])
        order = np.argsort(columns["time"], kind="stable")
        for name, column in columns.items():
            columns[name] = column[order]


def main() -> None:
    paths: dict[str, list[str]] = json.loads(sys.stdin.readline())
    tokenizer = miditok.REMI()
    cases: dict[str, Callable[[], object]] = {
        "pretty_midi": lambda: read_with_pretty_midi(paths["pretty_midi"]),
        "miditok": lambda: tokenize(tokenizer, paths["miditok"]),
        "symusic_loop": lambda: read_columns(paths["symusic_loop"]),
    }
    serve.serve(cases, ["miditok", "pretty_midi", "symusic", "numpy"])


if __name__ == "__main__":
    main()
