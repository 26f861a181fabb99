"""The search for near-duplicates as a Beam transform. It finds the same pairs as `near_duplicates.find_pairs`.

(piece_id, signature) --packed--> side input of all signatures
    a few bands per element -> find_pairs in these bands --packed--> GroupByKey -> no pair twice -> (piece_id, piece_id)

A worker holds all signatures, 288 bytes per piece (52 MB for 180,000 pieces). Sending the rows of every band to
workers by bucket would give the shuffle six times as much without the signatures, and sixty times with them. Data
between workers is packed in arrays: a Python object per piece or pair costs a runner more than the search itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from beam_pipelines.encoding.fingerprints import DTYPE, NUM_VALUES
from beam_pipelines.planning import near_duplicates

_BANDS_AT_ONCE = 8  # so eight workers can share the search; each prepares all rows once per element
_ROW = np.dtype([("piece_id", "S32"), ("signature", DTYPE, (NUM_VALUES,))])
_MOST_ROWS = 1 << 13  # in a packed element: a few MB, since runners want small elements
_NUM_RANGES = 64  # of pieces by id: a pair is sent to the range of its first piece


class NearDuplicatePairs(beam.PTransform):
    """Pairs of pieces that are the same music.

    Input: (piece_id, signature `[NUM_VALUES]`); a piece may occur several times.
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
            | "FindPairs" >> beam.FlatMap(_find_pairs, beam.pvalue.AsIter(packed))
            | beam.GroupByKey()
            | "NoPairTwice" >> beam.FlatMap(_unpack_pairs)
        )


class _PackFn(beam.DoFn):
    """Packs many pieces into one element."""

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


def _find_pairs(bands: Sequence[int], packed: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yields (range, its pairs of ids)."""
    rows = np.frombuffer(b"".join(packed), _ROW)
    ids, first = np.unique(rows["piece_id"], return_index=True)
    pairs = near_duplicates.find_pairs(rows["signature"][first], ids, bands)
    bounds = np.searchsorted(pairs[:, 0], np.arange(_NUM_RANGES + 1) * len(ids) // _NUM_RANGES)
    for number, (begin, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        if begin < end:
            yield number, ids[pairs[begin:end]].tobytes()


def _unpack_pairs(pairs_of_range: tuple[int, Iterable[bytes]]) -> Iterator[tuple[str, str]]:
    pairs = np.unique(np.frombuffer(b"".join(pairs_of_range[1]), "S64"))
    for left, right in pairs.view("S32").reshape(-1, 2).tolist():
        yield left.decode(), right.decode()
