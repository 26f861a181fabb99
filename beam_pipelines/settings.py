"""What fixes the content of a dataset besides its inputs; the same object goes to every step."""

from __future__ import annotations

import dataclasses
from typing import Any

from beam_pipelines.splits import SplitRule
from midi_codec.midi_header import Limits

INPUTS_A_SHARD = 1000  # records are small: some 20 MB a shard for piano performances


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """`inputs_hash` tells corpora apart; a piece lies in shard hash(piece_id) % num_shards of its split."""

    inputs_hash: str
    time_base: str
    split_rule: SplitRule
    num_shards: int
    limits: Limits

    def as_dict(self) -> dict[str, Any]:
        """As `dataset_info.json` keeps them, where the time base stands by itself."""
        return {
            "inputs_hash": self.inputs_hash,
            "num_shards": self.num_shards,
            "limits": dataclasses.asdict(self.limits),
            **self.split_rule.settings(),
        }


def default_num_shards(num_inputs: int) -> int:
    """One shard for every thousand inputs begun: known before the work, so that a restart agrees."""
    return max(1, -(-num_inputs // INPUTS_A_SHARD))
