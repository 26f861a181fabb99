"""A survey's estimate as a table for people."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping

from beam_pipelines.survey.estimate import Estimate, Range
from job_runtime.command_line.numerals import counted

MAX_EXAMPLES = 3  # rejects of each reason
MAX_MESSAGE = 100  # characters of a reject's message


def format_estimate(estimate: Estimate) -> str:
    """The table, without a line break at its end."""
    return "\n".join(_lines(estimate))


def _lines(estimate: Estimate) -> Iterator[str]:
    sample, is_whole = estimate.sample, estimate.is_whole
    size = f" ({format_bytes(estimate.num_bytes)})" if estimate.num_bytes else ""
    yield f"{counted(estimate.num_inputs, 'input')}{size}, {counted(estimate.other_files, 'other file')}"
    if is_whole:
        yield "all of them were examined"
    else:
        share = sample.num_files / estimate.num_inputs
        read = f"{format_bytes(sample.num_bytes)}, {100 * share:.2g} %"
        yield f"{sample.num_files:,} of them were examined ({read}), chosen by a hash of their names"
        yield "ranges are 95% confidence intervals"
        yield f"  {'':<24} {'examined':>14} {'whole corpus':>16}"
    yield _row("examples", f"{sample.total('examples'):,.0f}", estimate.examples, is_whole)
    yield _row("notes", f"{sample.total('notes'):,.0f}", estimate.notes, is_whole)
    yield _row("hours of music", f"{sample.total('seconds') / 3600:,.1f}", estimate.hours, is_whole, "hours")
    read_bytes = format_bytes(sample.total("record_bytes"))
    yield _row("size of the dataset", read_bytes, estimate.dataset_bytes, is_whole, "bytes")
    yield from _table(
        "rejects", collections.Counter(line.reason for line in sample.rejects), estimate.rejects, estimate
    )
    yield from _table(
        "salvaged", collections.Counter(line.rung for line in sample.salvaged), estimate.salvaged, estimate
    )
    yield from _duplicates(estimate)
    yield from (f"  label {line}" for line in sample.labels)
    if estimate.unseen:
        yield f"up to {estimate.unseen:,.0f} inputs may have a reason that none of these files had"
    times = ", ".join(
        f"{tasks} task{'s' if tasks != 1 else ''} {format_seconds(seconds)}"
        for tasks, seconds in estimate.wall_seconds.items()
    )
    yield f"time to encode it, with a core as fast as this one per task: {times}"


def _row(name: str, read: str, whole: Range, is_whole: bool, kind: str = "count") -> str:
    if is_whole:
        return f"  {name:<24} {read:>14}"
    value, low, high = (_format(each, kind) for each in (whole.value, whole.low, whole.high))
    return f"  {name:<24} {read:>14} {value:>16}   {low} to {high}"


def _table(title: str, seen: Mapping[str, int], whole: Mapping[str, Range], estimate: Estimate) -> Iterator[str]:
    if not seen:
        yield f"  {title:<24} {0:>14}"
        return
    yield f"  {title:<24} {sum(seen.values()):>14,}"
    for name in sorted(seen, key=lambda name: (-seen[name], name)):
        yield _row(f"  {name}", f"{seen[name]:,}", whole[name], estimate.is_whole)
        if title == "rejects":
            rejects = sorted(line for line in estimate.sample.rejects if line.reason == name)
            yield from (f"      {line.path}: {line.message[:MAX_MESSAGE]}" for line in rejects[:MAX_EXAMPLES])


def _duplicates(estimate: Estimate) -> Iterator[str]:
    for kind, seen in sorted(estimate.sample.duplicates.items()):
        line = f"  {kind + ' duplicates':<24} {seen:>14,}"
        if not estimate.is_whole and seen:
            whole = estimate.duplicates[kind]
            most = min(whole.high, estimate.examples.value)
            line += f" {'':>16}   {whole.low:,.0f} to {most:,.0f}"
            line += ": a copy is seen only if its original was read too"
        yield line


def _format(value: float, kind: str) -> str:
    if kind == "bytes":
        return format_bytes(value)
    return f"{value:,.1f}" if kind == "hours" else f"{value:,.0f}"


def format_bytes(number: float) -> str:
    """`1.5 GB`, in powers of a thousand."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:,.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def format_seconds(seconds: float) -> str:
    """`0.5 s`, `40 s`, `12 min` or `3.5 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"
