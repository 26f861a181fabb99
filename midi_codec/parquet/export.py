"""An export: a folder that `datasets.load_dataset(FOLDER)` reads.

data/train-00000-of-00002.parquet    one row per piece (`columns`)
croissant.json                       the same in the vocabulary of Croissant, for other tools
README.md                            the data-set card; written last, so its presence means "complete"
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence

from job_runtime import storage
from job_runtime.command_line.flags import group_of
from job_runtime.command_line.numerals import counted, sized
from midi_codec.parquet import card, croissant, parquet_files
from midi_codec.parquet.card import Description
from midi_codec.parquet.columns import Column, Row, all_columns
from midi_codec.parquet.parquet_files import Split

README, CROISSANT = "README.md", "croissant.json"
CARD = "data set for other programs"  # the group of flags in `--help`
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_FILE = re.compile(rf"{parquet_files.FOLDER}/\w+-\d{{5}}-of-\d{{5}}\.parquet")


@dataclasses.dataclass(frozen=True)
class Source:
    """The pieces of a split, and how many notes they have together."""

    split: str
    num_notes: int
    rows: Iterator[Row]


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = group_of(parser, CARD).add_argument
    add(
        "--license",
        type=str.lower,  # SPDX writes CC0-1.0, the Hub cc0-1.0
        help="identifier of the music's licence, such as cc0-1.0 or cc-by-4.0, or unknown; an export must have it",
    )
    add("--name", help="title of the data set (default: the name of the folder)")


def problems(flag: str, folder: str | None, license: str | None, name: str | None) -> Iterator[str]:
    """What is wrong with the flags of an export, and with its folder, which may hold an earlier export."""
    if license is None:
        yield "--license is missing, want an identifier of the music's licence such as cc-by-4.0, or unknown"
    elif not LICENSE.fullmatch(license):
        yield f"--license is {license!r}, want an identifier of the Hub such as cc-by-4.0, or unknown"
    if name is not None and (not name.strip() or not name.isprintable()):
        yield f"--name is {name!r}, want a title of one line"
    if folder is None:
        return
    yield from (wrong := storage.output_problems(flag, folder))
    path = storage.join(folder, README)
    if not wrong and storage.exists(path) and card.MARK.encode() not in storage.read_bytes(path):
        yield f"{flag} {folder!r} holds a {README} that no export wrote, want another folder"


def write(root: str, sources: Iterable[Source], *, own: Sequence[Column], described: Description) -> list[Split]:
    """Writes an export, in place of an earlier one."""
    columns = all_columns(own)
    storage.delete(storage.join(root, README))
    splits = [
        parquet_files.write_split(root, source.split, source.rows, columns=columns, num_notes=source.num_notes)
        for source in sources
    ]
    names = {file.name for split in splits for file in split.files}
    for entry in storage.list_files(storage.join(root, parquet_files.FOLDER) + "/", missing_ok=True):
        name = entry.path.removeprefix(root.rstrip("/") + "/")
        if name not in names and _FILE.fullmatch(name):  # of an earlier export with other shards
            storage.delete(entry.path)
    storage.write_bytes(storage.join(root, CROISSANT), croissant.text(described, columns, splits).encode())
    storage.write_bytes(storage.join(root, README), card.text(described, columns, splits).encode())
    return splits


def title(name: str | None, folder: str) -> str:
    """`--name`, or else the name of the folder."""
    return name or folder.rstrip("/").rpartition("/")[2]


def describe(root: str, splits: Sequence[Split]) -> str:
    """A line for the end of a command."""
    files = [file for split in splits for file in split.files]
    pieces, notes = sum(split.num_pieces for split in splits), sum(split.num_notes for split in splits)
    size = sized(sum(file.size for file in files))
    return f"{root}: {counted(pieces, 'piece')}, {notes:,} notes in {counted(len(files), 'Parquet file')}, {size}"


def plain(text: str) -> str:
    """A path or the like, which may hold any bytes, as text."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
