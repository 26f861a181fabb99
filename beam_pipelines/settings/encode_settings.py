"""What determines the content of a dataset besides its inputs. The same object goes to every step."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import re
from typing import Any

from beam_pipelines.settings.labels import LabelRule
from beam_pipelines.settings.splits import SplitRule, expression
from job_runtime.code_version import code_version
from job_runtime.command_line.settings import setting
from midi_codec.cleaning.cleaning_rules import CleaningRules
from midi_codec.midi.midi_header import Limits
from midi_codec.music.notes import TIME_BASES

INPUTS_PER_SHARD = 1000  # records are small: about 20 MB per shard for piano performances
AUTO = "auto"  # a time base that is still to be chosen; no part is encoded with it
TIME_BASE_CHOICES = (*TIME_BASES, AUTO)
MOST_SHARDS = 99_999  # their numbers have five digits
_DECISIVE_PACKAGES = ("symusic", "numpy")  # what they compute is in the parts
NEAR_DUPLICATES = ("group", "drop", "keep")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    """The older dataset that `--add-to` names, and its hash."""

    path: str
    hash: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """`inputs_hash` identifies the corpus; a piece goes to shard hash(piece_id) % num_shards of its split."""

    inputs_hash: str
    split_rule: SplitRule
    limits: Limits
    cleaning: CleaningRules = CleaningRules()
    base: Base | None = None
    labels: LabelRule = LabelRule()
    time_base: str = setting(
        AUTO,
        "grid of times; beats, in 24 ticks per quarter note, are for music that was written rather than played; "
        "auto looks at where the notes of a sample begin, and says what it chose; with --add-to, auto is the older "
        "dataset's grid",
        metavar="GRID",
        choices=TIME_BASE_CHOICES,
    )
    group_regex: str | None = setting(
        None,
        "pieces whose paths match this group with the same text go to one split",
        metavar="REGEX",
        kind=expression("group's name, such as '^(.*)/[^/]*$'"),
    )
    near_duplicates: str = setting(
        NEAR_DUPLICATES[0],
        "group: keep all, in one split; drop: keep one; keep: do not look for them",
        metavar="POLICY",
        choices=NEAR_DUPLICATES,
    )
    num_shards: int = setting(
        help="shards per split",
        at_least=1,
        at_most=MOST_SHARDS,
        default_text=f"one per {INPUTS_PER_SHARD:,} inputs",
    )

    def as_dict(self) -> dict[str, Any]:
        """As in `dataset_info.json`, which has the time base elsewhere."""
        return {
            "inputs_hash": self.inputs_hash,
            "num_shards": self.num_shards,
            "limits": dataclasses.asdict(self.limits),
            "cleaning": self.cleaning.to_dict(),
            "near_duplicates": self.near_duplicates,
            "group_regex": self.group_regex,
            "added_to": self.base.hash if self.base else None,
            **self.split_rule.settings(),
            **self.labels.settings(),
        }

    def part_key(self, chunk: bytes) -> str:
        """The name of a chunk's part: a hash of the chunk, of the settings that affect the part, and of our code."""
        return hashlib.sha256(self._decisive + b"\0" + chunk).hexdigest()[:32]

    @functools.cached_property
    def key(self) -> str:
        """The name of the dataset to be made: equal for encodes that write the same bytes."""
        wanted = json.dumps({**self.as_dict(), "time_base": self.time_base}, sort_keys=True).encode()
        return hashlib.sha256(self._decisive + b"\0" + wanted).hexdigest()[:32]

    @functools.cached_property
    def _decisive(self) -> bytes:
        decisive = {**self.as_dict(), "time_base": self.time_base}
        del decisive["inputs_hash"], decisive["near_duplicates"]  # they do not affect parts
        code = [code_version("job_runtime", "midi_codec", "beam_pipelines")] + [
            importlib.metadata.version(name) for name in _DECISIVE_PACKAGES
        ]
        return json.dumps([code, decisive], sort_keys=True).encode()

    def path_group(self, source: str) -> bytes:
        """32 hex digits, a hash of what `--group-regex` finds in a source; empty if it finds nothing."""
        if self.group_regex is None:
            return b""
        match = re.search(self.group_regex, source)
        if not match:
            return b""
        name = match.group("group" if "group" in match.re.groupindex else 1)
        return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32].encode() if name else b""


def default_num_shards(num_inputs: int) -> int:
    """One shard per thousand inputs, rounded up: known before the work, so that a restart computes the same."""
    return max(1, -(-num_inputs // INPUTS_PER_SHARD))
