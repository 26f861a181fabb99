"""A dataset's contents as text for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from beam_pipelines.inspect import note_histograms
from beam_pipelines.inspect.dataset_contents import Case, Contents
from beam_pipelines.inspect.note_histograms import Bars
from job_runtime.command_line.numerals import counted
from midi_codec.dataset import labels
from midi_codec.dataset.dataset_info import SPLITS, DatasetInfo
from midi_codec.dataset.records import Piece
from midi_codec.music.notes import DRUM_PROGRAM

BAR_WIDTH = 40  # characters
NUM_NOTES = 40  # of a piece, in a table
NUM_GROUPS = 8
NUM_SOURCES = 5  # of a group
_EIGHTHS = " ▏▎▍▌▋▊▉"


def format_contents(contents: Contents) -> str:
    """Everything but the notes of a piece."""
    parts = [_overview(contents), _cases("Rejects", contents.rejects), _cases("Salvaged", contents.salvaged)]
    parts += [_cases("Duplicates", contents.duplicates, prefix="kept: "), _groups(contents), _lengths(contents)]
    parts += [_labels(contents.info)]
    parts += [_bars(bars) for bars in note_histograms.of_dataset(contents.info, coarse=True)]
    parts += [_bars(note_histograms.of_programs(contents.info)), _settings(contents)]
    return "\n\n".join(text for part in parts if (text := "\n".join(part)))


def format_piece(piece: Piece, split: str | None) -> str:
    """One piece: what it is, and its first notes."""
    return "\n".join(_piece_lines(piece, split))


def _overview(contents: Contents) -> Iterator[str]:
    info = contents.info
    yield f"{contents.path}"
    yield f"dataset {info.hash}, {info.time_base}"
    yield ""
    yield f"  {info.inputs:>11,} inputs, {counted(info.other_files, 'other file')}"
    yield f"  {info.examples:>11,} examples"
    yield f"  {sum(info.duplicates.values()):>11,} duplicates"
    yield f"  {sum(info.rejects.values()):>11,} rejects"
    yield ""
    yield f"  {'':<12}{'pieces':>10}{'notes':>15}{'hours':>10}{'shards':>9}"
    rows = [(name, info.splits[name]) for name in SPLITS]
    for name, split in rows:
        yield _split_row(name, split.num_pieces, split.num_notes, split.seconds, len(split.shard_lengths))
    splits = [split for _, split in rows]
    yield _split_row(
        "all",
        sum(split.num_pieces for split in splits),
        sum(split.num_notes for split in splits),
        sum(split.seconds for split in splits),
        sum(len(split.shard_lengths) for split in splits),
    )


def _split_row(name: str, pieces: int, notes: int, seconds: float, shards: int) -> str:
    return f"  {name:<12}{pieces:>10,}{notes:>15,}{seconds / 3600:>10,.1f}{shards:>9,}"


def _cases(title: str, cases: Sequence[Case], prefix: str = "") -> Iterator[str]:
    shown = [case for case in cases if case.count]
    if not shown:
        return
    yield title
    for case in shown:
        yield f"  {case.count:>11,} {case.name}"
        for path, message in case.examples:
            yield f"              {path}" + (f": {prefix}{message}" if message else "")


def _groups(contents: Contents) -> Iterator[str]:
    counts = contents.info.groups
    if not counts["groups"]:
        return
    yield f"Groups of pieces that belong together: {counts['groups']:,}, with {counts['pieces']:,} pieces"
    if counts["in_several_splits"]:
        yield f"  {counts['in_several_splits']:,} of them are in several splits"
    for group in (contents.groups or ())[:NUM_GROUPS]:
        yield f"  {len(group.sources):>11,} pieces in {', '.join(group.splits)}"
        for source in group.sources[:NUM_SOURCES]:
            yield f"              {source}"
        if len(group.sources) > NUM_SOURCES:
            yield f"              and {len(group.sources) - NUM_SOURCES:,} more"


def _lengths(contents: Contents) -> Iterator[str]:
    lengths = np.concatenate([np.asarray(each, np.int64) for each in (contents.num_notes or {"": ()}).values()])
    if not len(lengths):
        return
    quartiles = [f"{round(value):,}" for value in np.percentile(lengths, [0, 25, 50, 75, 100])]
    yield "Notes per piece"
    yield f"  smallest {quartiles[0]}, quartiles {', '.join(quartiles[1:4])}, largest {quartiles[4]}"


def _labels(info: DatasetInfo) -> Iterator[str]:
    if info.labels:
        yield "Labels, and how many pieces have each value"
    yield from (f"  {line}" for line in labels.describe(info.labels, info.examples))


def _bars(bars: Bars) -> Iterator[str]:
    totals = bars.totals
    if not any(totals):
        return
    yield bars.title
    highest, whole = max(totals), sum(totals)
    width = max(map(len, bars.labels))
    for label, count in zip(bars.labels, totals, strict=True):
        full, rest = divmod(round(8 * BAR_WIDTH * count / highest), 8)
        bar = "█" * full + (_EIGHTHS[rest] if rest else "")
        share = 100 * count / whole
        words = f"{share:.1f}" if share >= 0.05 or not count else "<0.1"
        yield f"  {label:<{width}} {words:>5} % {bar}".rstrip()


def _settings(contents: Contents) -> Iterator[str]:
    yield "Settings"
    for name, value in flat_settings(contents.info.settings):
        yield f"  {name}: {value}"


def flat_settings(settings: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of nested settings, `limits.max_notes` for one inside another."""
    for name, value in sorted(settings.items()):
        if isinstance(value, dict):
            yield from flat_settings(value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _piece_lines(piece: Piece, split: str | None) -> Iterator[str]:
    notes = piece.notes
    yield piece.source
    yield f"piece {piece.piece_id} of group {piece.group_id}" + (f", {split}" if split else "")
    yield f"{len(notes):,} notes, {notes.seconds:,.1f} s, tempo {notes.tempo:.4g} at the start"
    signatures = [text for text in (notes.signatures.times_text, notes.signatures.keys_text) if text]
    if signatures:
        yield f"signatures {'; '.join(signatures)}"
    if piece.labels:
        yield f"labels {', '.join(f'{name} {value}' for name, value in piece.labels.items())}"
    yield ""
    yield f"  {'start':>10} {'step':>8} {'pitch':>9} {'duration':>9} {'velocity':>9} {'program':>8}"
    shown = notes.take(slice(0, NUM_NOTES))
    columns = (shown.start, shown.step, shown.pitch, shown.duration, shown.velocity, shown.program)
    for start, step, pitch, duration, velocity, program in zip(*(each.tolist() for each in columns), strict=True):
        name = f"{note_histograms.pitch_name(pitch)} {pitch:>3}"
        instrument = "drums" if program == DRUM_PROGRAM else program
        yield f"  {start:>10} {step:>8} {name:>9} {duration:>9} {velocity:>9} {instrument:>8}"
    if len(notes) > NUM_NOTES:
        yield f"  and {len(notes) - NUM_NOTES:,} more"


# -------------------------------------------------------------------------------------------------- JSON


def to_dict(contents: Contents) -> dict[str, Any]:
    """The content of `format_contents` for programs; histograms in fine bins, by split."""
    info = contents.info
    bars = [*note_histograms.of_dataset(info, coarse=False), note_histograms.of_programs(info)]
    if contents.num_notes and any(contents.num_notes.values()):
        bars.append(note_histograms.of_lengths(contents.num_notes))
    return {
        "path": contents.path,
        "hash": info.hash,
        "time_base": info.time_base,
        "inputs": info.inputs,
        "other_files": info.other_files,
        "examples": info.examples,
        "splits": {
            name: {"pieces": split.num_pieces, "notes": split.num_notes, "seconds": split.seconds}
            for name, split in info.splits.items()
        },
        **{
            name: {
                case.name: {"count": case.count, "examples": list(case.examples)} for case in getattr(contents, name)
            }
            for name in ("rejects", "salvaged", "duplicates")
        },
        "labels": info.labels,
        "groups": {**info.groups, "largest_groups": _groups_of(contents)},
        "histograms": {each.name: {"bins": list(each.labels), "counts": each.counts} for each in bars},
        "settings": dict(info.settings),
    }


def _groups_of(contents: Contents) -> list[dict[str, Any]] | None:
    if contents.groups is None:
        return None
    return [{"id": group.group_id, "splits": group.splits, "sources": group.sources} for group in contents.groups]


def piece_to_dict(piece: Piece, split: str | None) -> dict[str, Any]:
    """A piece with all its notes, as columns."""
    notes = piece.notes
    columns = ("start", "pitch", "duration", "velocity", "program")
    return {
        "piece_id": piece.piece_id,
        "group_id": piece.group_id,
        "source": piece.source,
        "split": split,
        "labels": dict(piece.labels),
        "tempo": notes.tempo,
        "time_signatures": notes.signatures.times_text or None,
        "key_signatures": notes.signatures.keys_text or None,
        "seconds": round(notes.seconds, 3),
        "notes": {name: getattr(notes, name).tolist() for name in columns},
    }
