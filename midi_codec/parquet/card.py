"""The card of a data set, README.md: a header in YAML that the Hub and `datasets` read, and a page for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence

from job_runtime.command_line.numerals import sized
from midi_codec.parquet.columns import Column
from midi_codec.parquet.parquet_files import Split, pattern

MARK = "<!-- written by an export of midi-lstm, which replaces this page -->"
TAGS = ("music", "midi", "symbolic-music")


@dataclasses.dataclass(frozen=True)
class Description:
    """What is said of a data set besides its columns and sizes.

    summary     one sentence
    provenance  facts by name; a long one is shown as it is
    """

    name: str
    license: str
    summary: str
    provenance: Mapping[str, str]


def text(described: Description, columns: Sequence[Column], splits: Sequence[Split]) -> str:
    splits = [split for split in splits if split.num_pieces]
    return "\n".join([*_header(described, columns, splits), *_page(described, columns, splits)]) + "\n"


def _header(described: Description, columns: Sequence[Column], splits: Sequence[Split]) -> Iterator[str]:
    """YAML; text from outside is written as JSON, which YAML includes."""
    size = sum(file.size for split in splits for file in split.files)
    yield from ("---", f"license: {described.license}", f"pretty_name: {json.dumps(described.name)}")
    yield from ("tags:", *(f"- {tag}" for tag in TAGS))
    yield from ("size_categories:", f"- {_size_category(sum(split.num_pieces for split in splits))}")
    yield from ("configs:", "- config_name: default", "  data_files:")
    for split in splits:
        yield from (f"  - split: {split.name}", f"    path: {pattern(split.name)}")
    yield from ("dataset_info:", "  features:")
    for column in columns:
        yield from (f"  - name: {column.name}", f"    {'list' if column.is_list else 'dtype'}: {column.kind}")
    yield "  splits:"
    for split in splits:
        yield from (f"  - name: {split.name}", f"    num_examples: {split.num_pieces}")
    yield from (f"  download_size: {size}", "---")


def _size_category(num_pieces: int) -> str:
    names = ["1K", "10K", "100K", "1M", "10M", "100M"]
    for index, name in enumerate(names):
        if num_pieces < 1000 * 10**index:
            return f"{names[index - 1]}<n<{name}" if index else f"n<{name}"
    return "n>100M"


def _page(described: Description, columns: Sequence[Column], splits: Sequence[Split]) -> Iterator[str]:
    yield from ("", MARK, "", f"# {described.name}", "", described.summary, "", "## Use", "")
    first = splits[0].name if splits else "train"
    yield from (
        "    import datasets, numpy",
        "",
        '    pieces = datasets.load_dataset("FOLDER")  # this folder, or its name on the Hub',
        f'    piece = pieces["{first}"][0]',
        '    seconds = numpy.array(piece["start"]) * piece["seconds_per_tick"]',
        "",
        "## Splits",
        "",
        "| split | pieces | notes | hours | files | size |",
        "|---|---|---|---|---|---|",
    )
    for split in splits:
        size = sized(sum(file.size for file in split.files))
        counts = f"{split.num_pieces:,} | {split.num_notes:,} | {split.seconds / 3600:,.2f} | {len(split.files):,}"
        yield f"| {split.name} | {counts} | {size} |"
    yield from ("", "## Columns", "", "One row per piece; lists have one value per note.", "")
    yield from ("| column | type | meaning |", "|---|---|---|")
    for column in columns:
        kind = f"list of {column.kind}" if column.is_list else column.kind
        yield f"| {column.name} | {kind} | {column.meaning} |"
    yield from ("", "## Provenance", "")
    for name, fact in described.provenance.items():
        if "\n" in fact:
            yield from (f"{name}:", "", *(f"    {line}" for line in fact.splitlines()), "")
        else:
            yield from (f"{name}: {fact}", "")
    yield from ("## Licence", "", f"`{described.license}`, as the person who made this export says.")
