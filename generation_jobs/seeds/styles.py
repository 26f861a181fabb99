"""Styles: seed lists that come with the model in the box, each with openings of pieces of one of its sources.

An opening fixes what a style is: the instruments, the tempo, the metre and the key that the piece continues.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os

from generation_jobs.seeds import seed_list
from generation_jobs.seeds.seed_list import SeedList
from trainer import box_model

ENDING = ".jsonl"


def names() -> list[str]:
    """The styles there are."""
    folder = box_model.styles_folder()
    listed = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(name.removesuffix(ENDING) for name in listed if name.endswith(ENDING))


def read(name: str, *, num_pieces: int, rng_seed: int) -> SeedList:
    """The list for this many pieces: one each of as many openings as possible.

    Args:
      rng_seed: other values take the openings in another order.
    """
    listed = seed_list.read(os.path.join(box_model.styles_folder(), f"{name}{ENDING}"))
    ordered = sorted(listed.seeds, key=lambda seed: hashlib.sha256(f"{rng_seed} {seed.id}".encode()).digest())
    each, rest = divmod(num_pieces, len(ordered))
    counts = [each + (index < rest) for index in range(len(ordered))]
    chosen = [
        dataclasses.replace(seed, num_samples=count) for seed, count in zip(ordered, counts, strict=True) if count
    ]
    digest = hashlib.sha256(f"{listed.digest} {num_pieces} {rng_seed}".encode()).hexdigest()[:32]
    return dataclasses.replace(listed, seeds=chosen, digest=digest)
