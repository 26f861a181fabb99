"""The columns of an export: one definition for the Parquet schema, the card and the Croissant file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from midi_codec.music.notes import DRUM_PROGRAM, TICKS_PER_BEAT, TICKS_PER_SECOND, Notes


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: `kind` is Arrow's name of its type; a list has one value per note."""

    name: str
    kind: str
    meaning: str
    is_list: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One piece: its notes, and the values of `piece_id` and of the export's own columns, by name."""

    values: Mapping[str, Any]
    notes: Notes


PIECE_ID = Column("piece_id", "string", "hash of the notes: equal music has equal ids")
SPLIT = Column("split", "string", "the split that the piece belongs to")
_OF_NOTES = (
    Column("time_base", "string", f"grid of times: milliseconds, or beats (1/{TICKS_PER_BEAT} of a quarter note)"),
    Column("tempo", "float32", "quarter notes per minute at the start of the piece"),
    Column("seconds_per_tick", "float64", f"length of a tick: 1/{TICKS_PER_SECOND}, or by the tempo on the beats grid"),
    Column("seconds", "float64", "from the start of the piece to the end of its last note"),
    Column("time_signatures", "string", "such as 4/4@-48, 3/4@720: after the @ is the tick of a bar line; or null"),
    Column("key_signatures", "string", "such as D minor@0: after the @ is the tick from which it applies; or null"),
    Column("num_notes", "int32", "length of the lists"),
)
_LISTS = (
    Column("start", "int32", "onset in ticks; the first is 0, and they ascend", is_list=True),
    Column("duration", "int32", "length in ticks; 0 is allowed", is_list=True),
    Column("pitch", "uint8", "MIDI note number, 0 to 127; 60 is middle C", is_list=True),
    Column("velocity", "uint8", "MIDI velocity, 1 to 127", is_list=True),
    Column("program", "uint8", f"General MIDI program, 0 to 127; {DRUM_PROGRAM} for drums", is_list=True),
)


def all_columns(own: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of an export, in order, with those of its own."""
    return (PIECE_ID, SPLIT, *own, *_OF_NOTES, *_LISTS)


def complete(row: Row, split: str) -> dict[str, Any]:
    """The values of all columns; lists are arrays."""
    notes = row.notes
    return {
        "split": split,
        "time_base": notes.time_base,
        "tempo": notes.tempo,
        "seconds_per_tick": notes.seconds_per_tick,
        "seconds": notes.seconds,
        "time_signatures": notes.signatures.times_text or None,
        "key_signatures": notes.signatures.keys_text or None,
        "num_notes": len(notes),
        **{column.name: getattr(notes, column.name) for column in _LISTS},
        **row.values,
    }
