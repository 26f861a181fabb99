"""A bundle without a trained model, and a decoder in NumPy that replaces the real one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from generation_jobs.settings.requests import Request, Result
from midi_codec.fields import build_field_table
from midi_codec.music.notes import MILLISECONDS, Notes
from trainer import bundle

DATASET_HASH = "d" * 32


def make_bundle(*, programs: tuple[int, ...] = (0, 40), time_base: str = MILLISECONDS) -> bundle.Bundle:
    histograms = {name: (np.array([0, 10, 250]), np.array([3, 2, 5])) for name in ("step", "duration")}
    return bundle.Bundle(
        config={"units": 1},
        fields=build_field_table(histograms, programs=programs, time_base=time_base),
        dataset={"hash": DATASET_HASH, "time_base": time_base},
        metrics={},
        deviations={},
        weights={"layer/kernel": np.ones((2, 2), np.float32)},
    )


@dataclasses.dataclass
class FakeDecoder:
    """Draws notes from a sample's own stream, and yields the results out of order, as slots finish.

    A sample's notes depend on its request alone. `stop_after` simulates a kill: the decoder raises an
    exception after that many results.
    """

    time_base: str = MILLISECONDS
    stop_after: int | None = None
    asked: int = 0  # requests of all calls
    num_slots: int = 64
    num_steps: float = 0.0

    def prepare(self, requests: Sequence[Request]) -> None:
        pass

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Result]]:
        self.asked += len(requests)
        order = np.random.default_rng(len(requests)).permutation(len(requests)).tolist()
        for done, index in enumerate(order):
            if done == self.stop_after:
                raise RuntimeError("killed")
            yield index, self._result(requests[index])

    def _result(self, request: Request) -> Result:
        rng = np.random.default_rng(request.key)
        count = int(rng.integers(0, request.max_notes + 1))
        primer = request.primer
        last = int(primer.start[-1]) if primer is not None else 0
        made = {
            "pitch": rng.integers(0, 128, count),
            "velocity": rng.integers(1, 128, count),
            "start": last + 1 + np.cumsum(rng.integers(0, 300, count))
            if primer is not None
            else _from_zero(rng, count),
            "duration": rng.integers(0, 900, count),
            "program": np.zeros(count, np.int64),
        }
        if primer is not None:
            made = {name: np.concatenate([getattr(primer, name), column]) for name, column in made.items()}
        tempo = 120.0 if primer is None else primer.tempo
        notes = Notes.from_columns(**made, tempo=tempo, time_base=self.time_base)
        num_primer_notes = 0 if primer is None else len(primer)
        return Result(notes, num_primer_notes, float(np.float32(-1.5 * count - 0.1)), count < request.max_notes)


def _from_zero(rng: np.random.Generator, count: int) -> np.ndarray:
    start = np.cumsum(rng.integers(0, 300, count))
    return start - start[:1]
