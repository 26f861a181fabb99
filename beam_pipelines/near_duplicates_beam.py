"""The search for near-duplicates as a Beam transform, with the pairs of `near_duplicates.find_pairs`.

(piece_id, signature) --packed--> side input of all signatures
              a few bands an element -> ParDo: find_pairs in these bands -> Distinct -> (piece_id, piece_id)

A worker holds all signatures, 288 bytes a piece (52 MB for 180,000): rows of every band, sent to workers by bucket,
would be six times as much for the shuffle without the signatures to compare, and sixty times with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from beam_pipelines import near_duplicates
from beam_pipelines.fingerprints import DTYPE, NUM_VALUES

_BANDS_AT_ONCE = 4
_ROW = np.dtype([("piece_id", "S32"), ("signature", DTYPE, (NUM_VALUES,))])
_MOST_ROWS = 1 << 13  # of a packed element: some MB, as runners want elements small


class NearDuplicatePairs(beam.PTransform):
    """Pairs of pieces that are the same music.

    Input: (piece_id, signature `[NUM_VALUES]`); a piece may come several times.
    Output: (piece_id, piece_id), the smaller first; no pair twice.
    """

    def expand(self, pieces: beam.PCollection) -> beam.PCollection:
        packed = pieces | "Pack" >> beam.ParDo(_PackFn())
        begins = range(0, near_duplicates.NUM_BANDS, _BANDS_AT_ONCE)
        bands = [tuple(range(begin, begin + _BANDS_AT_ONCE)) for begin in begins]
        return (
            pieces.pipeline
            | "Bands" >> beam.Create(bands)
            | "Spread" >> beam.Reshuffle()
            | "FindPairs" >> beam.FlatMap(_find_pairs, beam.pvalue.AsIter(packed)).with_output_types(tuple[str, str])
            | beam.Distinct()
        )


class _PackFn(beam.DoFn):
    """Many pieces to one element."""

    def start_bundle(self) -> None:
        self._rows: list[tuple[bytes, np.ndarray]] = []

    def process(self, piece: tuple[str, np.ndarray]) -> Iterator[bytes]:
        piece_id, signature = piece
        self._rows.append((piece_id.encode(), signature))
        if len(self._rows) == _MOST_ROWS:
            yield self._pack()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._rows:
            window = GlobalWindow()
            yield WindowedValue(self._pack(), window.max_timestamp(), [window])

    def _pack(self) -> bytes:
        rows, self._rows = self._rows, []
        return np.array(rows, _ROW).tobytes()


def _find_pairs(bands: Sequence[int], packed: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    rows = np.frombuffer(b"".join(packed), _ROW)
    ids, first = np.unique(rows["piece_id"], return_index=True)
    for one, other in near_duplicates.find_pairs(rows["signature"][first], ids, bands).tolist():
        yield ids[one].decode(), ids[other].decode()
