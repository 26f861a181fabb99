"""Export the Bach chorales that music21 carries to MIDI, four voices each.

    python -m demo.chorales --output run/corpus

The files are for use on this machine: music21 asks that its corpus not be redistributed. Existing files are kept, so
the command may be stopped and started again.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from job_runtime import command, storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.command_line.settings import add_number
from job_runtime.logs.progress import progress
from job_runtime.processes import num_cores, process_pool
from midi_codec.midi import midi_writer
from midi_codec.music.notes import BEATS, TICKS_PER_BEAT, Notes, canonical_tempo, tempo_to_microseconds

if TYPE_CHECKING:
    from music21.stream import Part, Score

PROGRAM = "python -m demo.chorales"
NUM_VOICES = 4  # some chorales include an orchestra, whose doublings would teach unisons
QUARTERS_PER_MINUTE = 84  # the scores name no tempo, and MIDI's 120 is too fast for a congregation
VELOCITY = 80


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("--output", required=True, metavar="FOLDER", help="a folder for the MIDI files")
    add_number(parser, "--limit", None, "only the first N", at_least=1)
    args = parser.parse_args(argv)
    names = chorale_names()[: args.limit]
    with StopSignal() as stop:
        written = export_all(names, args.output, stop)
    print(f"{written} chorales in {args.output}; {len(names) - written} more have other than {NUM_VOICES} voices")
    return command.OK


def chorale_names() -> list[str]:
    """music21's names of the chorales, in Riemenschneider's order."""
    from music21 import corpus

    return list(dict.fromkeys(corpus.chorales.Iterator(returnType="filename")))


def export_all(names: Sequence[str], folder: str, stop: StopSignal) -> int:
    """Exports with one process per core; returns how many of the chorales are in the folder.

    Raises:
      Interrupted: `stop` was requested; exported files stay.
    """
    written = 0
    with (
        process_pool(min(num_cores(), len(names))) as pool,
        progress(total=len(names), unit="chorales", label="exporting") as bar,
    ):
        for future in concurrent.futures.as_completed([pool.submit(export, name, folder) for name in names]):
            written += future.result()
            bar.update(1)
            if stop.requested:
                raise Interrupted
    return written


def export(name: str, folder: str) -> bool:
    """Writes one chorale as `folder/bwv….mid`; returns False if it does not have four voices."""
    path = storage.join(folder, f"{name.rpartition('/')[2]}.mid")
    if storage.exists(path):
        return True
    from music21 import corpus

    score = corpus.parse(name, forceSource=True)  # otherwise music21 writes a cache
    if len(score.parts) != NUM_VOICES:
        return False
    storage.write_bytes(path, midi_writer.serialize(to_notes(score)))
    return True


def to_notes(score: Score) -> Notes:
    """The notes of a score on the beats grid, as written: repeats are not played.

    music21's own conversion to MIDI takes three times as long, mostly to copy the score, and fails on unpaired repeat
    signs.
    """
    rows = np.array([row for part in score.parts for row in _voice(part)], dtype=np.int64)
    start, pitch, duration = rows[np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))].T
    is_first = np.append(True, (np.diff(start) != 0) | (np.diff(pitch) != 0))  # of a unison, keep the longest
    count = int(is_first.sum())
    return Notes.from_columns(
        pitch=pitch[is_first],
        velocity=np.full(count, VELOCITY),
        start=start[is_first],
        duration=duration[is_first],
        program=np.zeros(count, np.int64),
        tempo=canonical_tempo(tempo_to_microseconds(QUARTERS_PER_MINUTE)),
        time_base=BEATS,
    )


def _voice(part: Part) -> list[list[int]]:
    """(start, pitch, duration) in ticks for one voice; tied notes are merged."""
    rows: list[list[int]] = []
    tied: dict[int, int] = {}  # pitch to row, while a tie is open
    for measure in part.getElementsByClass("Measure"):
        for chord in measure.recurse().notes:
            start = _ticks(measure.offset + chord.getOffsetInHierarchy(measure))
            duration = _ticks(chord.duration.quarterLength)
            for note in getattr(chord, "notes", (chord,)) if duration else ():  # grace notes have no length
                pitch, tie = note.pitch.midi, note.tie.type if note.tie else None
                if tie in ("continue", "stop") and pitch in tied:
                    rows[tied[pitch]][2] += duration
                else:
                    rows.append([start, pitch, duration])
                    tied[pitch] = len(rows) - 1
                if tie not in ("start", "continue"):
                    tied.pop(pitch, None)
    return rows


def _ticks(quarters: float | Fraction) -> int:
    return round(quarters * TICKS_PER_BEAT)


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
