"""What fixes the content of a dataset besides its inputs; the same object goes to every step."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import re
from typing import Any

from beam_pipelines.settings.splits import SplitRule
from job_runtime.code_version import code_version
from midi_codec.cleaning.cleaning_rules import CleaningRules
from midi_codec.midi.midi_header import Limits

INPUTS_A_SHARD = 1000  # records are small: some 20 MB a shard for piano performances
_DECISIVE = ("symusic", "numpy")  # packages that decide what is in a part
NEAR_DUPLICATES = ("group", "drop", "keep")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    """The older dataset that `--add-to` names, and its hash."""

    path: str
    hash: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """`inputs_hash` tells corpora apart; a piece lies in shard hash(piece_id) % num_shards of its split."""

    inputs_hash: str
    time_base: str
    split_rule: SplitRule
    num_shards: int
    limits: Limits
    cleaning: CleaningRules = CleaningRules()
    near_duplicates: str = NEAR_DUPLICATES[0]
    group_regex: str | None = None
    base: Base | None = None

    def as_dict(self) -> dict[str, Any]:
        """As `dataset_info.json` keeps them, where the time base stands by itself."""
        return {
            "inputs_hash": self.inputs_hash,
            "num_shards": self.num_shards,
            "limits": dataclasses.asdict(self.limits),
            "cleaning": self.cleaning.to_dict(),
            "near_duplicates": self.near_duplicates,
            "group_regex": self.group_regex,
            "added_to": self.base.hash if self.base else None,
            **self.split_rule.settings(),
        }

    def part_key(self, chunk: bytes) -> str:
        """Names what comes out of a chunk: hash of the chunk, of what decides its part, and of our code."""
        return hashlib.sha256(self._decisive + b"\0" + chunk).hexdigest()[:32]

    @functools.cached_property
    def key(self) -> str:
        """Names the dataset that would be made: equal for encodes that write the same bytes."""
        wanted = json.dumps({**self.as_dict(), "time_base": self.time_base}, sort_keys=True).encode()
        return hashlib.sha256(self._decisive + b"\0" + wanted).hexdigest()[:32]

    @functools.cached_property
    def _decisive(self) -> bytes:
        decisive = {**self.as_dict(), "time_base": self.time_base}
        del decisive["inputs_hash"], decisive["near_duplicates"]  # they matter later
        code = [code_version("job_runtime", "midi_codec", "beam_pipelines")] + [
            importlib.metadata.version(name) for name in _DECISIVE
        ]
        return json.dumps([code, decisive], sort_keys=True).encode()

    def path_group(self, source: str) -> bytes:
        """32 hex digits of what `--group-regex` reads from a source; empty where it reads nothing."""
        if self.group_regex is None:
            return b""
        match = re.search(self.group_regex, source)
        if not match:
            return b""
        name = match.group("group" if "group" in match.re.groupindex else 1)
        return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32].encode() if name else b""


def default_num_shards(num_inputs: int) -> int:
    """One shard for every thousand inputs begun: known before the work, so that a restart agrees."""
    return max(1, -(-num_inputs // INPUTS_A_SHARD))


def problems_in_group_regex(expression: str) -> list[str]:
    """Sentences on what is wrong with `--group-regex`; none when all is well."""
    try:
        compiled = re.compile(expression)
    except re.error as error:
        return [f"--group-regex is {expression!r}, which is no regular expression: {error}"]
    if not compiled.groups:
        return [f"--group-regex is {expression!r}, want a group that gives the name, such as '^(.*)/[^/]*$'"]
    return []
