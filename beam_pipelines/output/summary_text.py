"""What an encode prints at its end."""

from __future__ import annotations

import collections
from collections.abc import Mapping

from beam_pipelines.settings import splits
from job_runtime.command_line.numerals import counted
from midi_codec.dataset import labels
from midi_codec.dataset.dataset_info import SPLITS, DatasetInfo

NUM_VALUES = 5  # of a label


def print_summary(info: DatasetInfo, output: str) -> None:
    """Prints the counts of a dataset, for the end of an encode."""
    duplicates = {kind: count for kind, count in info.duplicates.items() if count}
    print(f"{counted(info.inputs, 'input')}, {counted(info.other_files, 'other file')}")
    totals = [
        counted(sum(kinds.values()), noun) + _named(kinds)
        for noun, kinds in (("duplicate", duplicates), ("reject", info.rejects))
    ]
    print(f"  {counted(info.examples, 'example')}, {', '.join(totals)}")
    if info.salvaged:
        print(f"  {sum(info.salvaged.values()):,} salvaged{_named(info.salvaged)}")
    groups = info.groups
    if groups["groups"]:
        pieces, of_groups = counted(groups["pieces"], "piece"), counted(groups["groups"], "group")
        print(f"  {pieces} in {of_groups}, the largest of {groups['largest']:,}")
    if groups["in_several_splits"]:
        leaking = counted(groups["in_several_splits"], "group")
        print(f"  {leaking} in several splits because of --split-regex: music leaks")
    for split, count in sorted(collections.Counter(info.moved_groups.values()).items()):
        print(f"  {split} would have been empty; groups moved there from a split with more: {count:,}")
    for line in labels.describe(info.labels, info.examples, most=NUM_VALUES):
        print(f"  label {line}")
    for split in SPLITS:
        part = info.splits[split]
        pieces, shards = counted(part.num_pieces, "piece"), counted(len(part.shard_lengths), "shard")
        music = f"{pieces:>16}  {part.num_notes:>13,} notes  {part.seconds / 3600:>9,.1f} hours"
        print(f"  {split:<10}  {music}  {shards:>12}")
    if few := splits.few_held_out(info):
        print(f"  {few}")
    print(f"dataset {info.hash} in {output}")


def _named(counts: Mapping[str, int]) -> str:
    """Such as ` (empty 1, no_header 2)`."""
    named = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return f" ({named})" if named else ""
