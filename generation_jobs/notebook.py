"""For notebooks and scripts: read a dataset, load a bundle, continue a primer. docs/python_api.md shows how.

The promise of the commands holds here too: the same primer, settings and `rng_seed` give the same notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generation_jobs.decoder import bundles
from generation_jobs.decoder.decoder import Decoder
from generation_jobs.job.job import request_key
from generation_jobs.settings.requests import DEFAULTS, SETTINGS, Result, Settings
from job_runtime.command_line.settings import problems_with
from midi_codec.dataset import dataset_info, records, split_reader
from midi_codec.music.notes import Notes
from trainer import box_model

STREAM = "notebook"  # the seed id that the random streams come from


def read_dataset(folder: str, split: str = "validation") -> Iterator[records.Piece]:
    """The pieces of one split, with `notes`, `piece_id` and `source`.

    Raises:
      UserError: there is no complete dataset, or a shard is damaged.
    """
    return split_reader.read_split(folder, dataset_info.load(folder), split)


class Generator:
    """A loaded bundle that continues primers. The first call compiles, which takes some ten seconds.

    Args:
      bundle: folder that the trainer wrote; None for the model that comes with the package.
      num_slots: pieces decoded at once, 1 or a multiple of 16.

    Raises:
      UserError: there is no bundle, or it is damaged.
    """

    def __init__(self, bundle: str | None = None, *, num_slots: int = 16):
        self.bundle = bundles.load([box_model.folder() if bundle is None else bundle])[0]
        self._decoder = Decoder(self.bundle, num_slots=num_slots)

    def continue_primer(
        self, primer: Notes | None = None, *, num_samples: int = 1, rng_seed: int = 0, **settings: Any
    ) -> list[Result]:
        """Generates pieces that begin with the primer, or from silence without one.

        Args:
          primer: on the bundle's grid.
          num_samples: how many pieces.
          rng_seed: other values give other pieces.
          settings: as the flags of `generate`, such as `temperature=0.9`, `max_notes=200`, `pitch_classes="D minor"`.

        Returns:
          Results in order: `notes` (primer included; `notes.to_pretty_midi()`), `log_likelihood`, `ended`.

        Raises:
          ValueError: a setting is wrong, or the primer does not fit the bundle.
        """
        unknown = [f"{name} is not a setting" for name in settings if name not in SETTINGS]
        if problems := unknown + list(problems_with(Settings, settings)):
            raise ValueError("; ".join(problems))
        chosen = DEFAULTS.override({**bundles.sampling([self.bundle]), **settings})
        requests = [chosen.request(request_key(rng_seed, STREAM, number), primer) for number in range(num_samples)]
        results = dict(self._decoder.generate(requests))
        return [results[number] for number in range(num_samples)]
