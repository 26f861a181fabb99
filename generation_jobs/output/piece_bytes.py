"""The bytes of a generated piece: its `.mid` file and its record. Both hold its line of the manifest.

A DAW shows a short text about the origin, such as the seed, and a marker where the primer ends. The whole line is in a
sequencer-specific event, which it does not show; a restart reads the piece back from there. In format 2 of a job, the
line was a text event.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence

from generation_jobs.output.manifest import Line, dumps
from midi_codec.dataset import records
from midi_codec.midi import midi_file, midi_writer
from midi_codec.midi.midi_header import MidiError
from midi_codec.music import key_estimate, metre_estimate
from midi_codec.music.notes import Notes
from midi_codec.music.signatures import Signatures

PRIMER, ESTIMATE = "primer", "estimate"  # where signatures come from
PRIMER_ENDS = "Primer ends"
_MARK = "generation_jobs.manifest "  # begins the event that holds the line


def describe_signatures(notes: Notes, known: Signatures) -> Line:
    """The signatures of a piece, for its line: those of its primer, continued, or else an estimate.

    Args:
      known: those of the primer, from its first onset on.
    """
    times, keys = known.times, known.keys
    if not times and (time := metre_estimate.estimate(notes)) is not None:
        times = (time,)
    if not keys and (key := key_estimate.estimate(notes)) is not None:
        keys = (key,)
    both = Signatures(times, keys)
    return {
        "time": both.times_text or None,
        "time_from": (PRIMER if known.times else ESTIMATE) if times else None,
        "key": both.keys_text or None,
        "key_from": (PRIMER if known.keys else ESTIMATE) if keys else None,
    }


def with_signatures(notes: Notes, line: Line) -> Notes:
    """The notes with the signatures of their line; lines of older jobs have none."""
    found = line.get("signatures") or {}
    return dataclasses.replace(notes, signatures=Signatures.parse(found.get("time") or "", found.get("key") or ""))


def serialize_midi(line: Line, notes: Notes) -> bytes:
    """The file of a piece; `parse_midi` is the inverse.

    Args:
      notes: from the first onset on.
    """
    num_given = line["num_primer_notes"]
    markers = []
    if num_given:
        end = notes.start[num_given] if num_given < len(notes) else notes.end.max()
        markers.append((int(end), PRIMER_ENDS))
    return midi_writer.serialize(
        with_signatures(notes, line),
        title=_name(line),
        texts=[_origin(line)],
        markers=markers,
        data=_MARK + dumps(line),
    )


def _name(line: Line) -> str:
    return f"{line['seed_id']} {line['sample']}"


def _origin(line: Line) -> str:
    """Where the piece and its signatures are from, as short as it can be: MuseScore shows it below the first note."""
    found = line.get("signatures") or {}
    words = {ESTIMATE: "estimated", PRIMER: "from primer"}
    kinds = [f"{kind} {words[found[f'{kind}_from']]}" for kind in ("time", "key") if found.get(kind)]
    return "; ".join([_name(line), f"model {line['bundle'][:8]}", *kinds])


def parse_midi(data: bytes, *, time_base: str) -> tuple[Line, Notes | None]:
    """The line and the notes of a `.mid` file that this job wrote; None for a piece without a note.

    Raises:
      ValueError: the file was not written by `serialize_midi`.
    """
    line = _line_in(data)
    try:
        notes = midi_file.parse(data, time_base=time_base)
    except MidiError as error:
        if error.reason != "no_notes":
            raise
        return line, None
    if notes.piece_id != line["piece_id"]:
        raise ValueError("its notes were changed later")
    return line, notes.from_first_onset()


def _line_in(data: bytes) -> Line:
    mark = data.find(_MARK.encode())
    if mark < 0:
        raise ValueError("it does not say what it was generated from")
    text = data[mark + len(_MARK) :].decode("latin-1")  # the line is ASCII; what follows is ignored
    try:
        line, _ = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        raise ValueError("it is cut off, or bytes of it were changed") from error
    return line


def are_intact(files: Sequence[bytes], lines: Sequence[Line], *, time_base: str) -> list[bool]:
    """Whether `parse_midi` returns its line for each file; many files are read ten times as fast as one by one."""
    parsed = midi_file.parse_many(files, time_base=time_base, salvage=False)
    places = {row: index for index, row in enumerate(parsed.rows.tolist())}

    def is_intact(row: int) -> bool:
        if row in places:
            is_right = parsed.batch.piece(places[row]).piece_id == lines[row]["piece_id"]
        else:
            is_right = parsed.errors[row].reason == "no_notes"
        with contextlib.suppress(ValueError):
            return is_right and _line_in(files[row]) == lines[row]
        return False

    return list(map(is_intact, range(len(files))))


def serialize_example(line: Line, notes: Notes) -> bytes:
    """The piece as an example of a dataset; the pieces of one seed are one group."""
    return records.serialize_columns(
        piece_id=line["piece_id"],
        group_id=line["seed_id"],
        source=line["path"],
        notes=with_signatures(notes, line),
        provenance=dumps(line),
    )
