"""The search for near-duplicates as a Beam transform. It finds the same pairs as `near_duplicates.find_pairs`.

    fingerprints -> Bands -> by (band, range of buckets) -> Candidates -╮
                 -> Ranges -> by range of ids -> with the first's fingerprint -> with the second's -> pairs

A worker holds the rows of one range of buckets, or the fingerprints of one range of ids, never those of the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np

from beam_pipelines.encoding.fingerprints import EMPTY
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.execution.beam_ranges import MOST_ROWS, PackFn, by_name, divide
from beam_pipelines.planning import digests, near_duplicates
from beam_pipelines.planning.near_duplicates import NUM_BANDS, PAIR, SIGNATURE

FINGERPRINT = np.dtype([("id", digests.DTYPE), ("signature", SIGNATURE)])

_ROW = np.dtype([("id", digests.DTYPE), ("key", "u8")])
_HALF = np.dtype([("first", digests.DTYPE), ("second", digests.DTYPE), ("signature", SIGNATURE)])  # the first's
_BUCKETS_PER_RANGE = 1_000_000  # pieces that a worker sorts at once, 24 bytes each
_IDS_PER_RANGE = 200_000  # pieces whose fingerprints a worker holds, 272 bytes each


def fingerprints_of(part: Part) -> np.ndarray:
    """`[n]` of FINGERPRINT: the pieces of a part that have one."""
    is_filled = (part.signatures != EMPTY).any(axis=1)
    rows = np.empty(int(is_filled.sum()), FINGERPRINT)
    rows["id"], rows["signature"] = digests.pack(part.rows["piece_id"][is_filled]), part.signatures[is_filled]
    return rows


class NearDuplicatePairs(beam.PTransform):
    """Pairs of pieces that are the same music.

    Input: arrays of FINGERPRINT; a piece may occur several times. Output: arrays of PAIR; no pair twice.
    """

    def __init__(self, num_pieces: int):
        """`num_pieces`: about how many there are; it decides into how many ranges the work is divided."""
        super().__init__()
        self._bucket_ranges = 1 + num_pieces // _BUCKETS_PER_RANGE
        self._id_ranges = 1 + num_pieces // _IDS_PER_RANGE

    def expand(self, fingerprints: beam.PCollection) -> beam.PCollection:
        packed = fingerprints | "Pack" >> beam.ParDo(PackFn())
        known = packed | "Ranges" >> beam.FlatMap(by_name, "id", self._id_ranges)
        candidates = (
            packed
            | "Bands" >> beam.FlatMap(_by_bucket, self._bucket_ranges)
            | "SameBucket" >> beam.GroupByKey()
            | "Candidates" >> beam.FlatMapTuple(_find_candidates)
            | "ByFirst" >> beam.FlatMap(by_name, "first", self._id_ranges)
        )
        halves = (
            {"pairs": candidates, "known": known}
            | "WithFirst" >> beam.CoGroupByKey()
            | "AddFirst" >> beam.FlatMapTuple(_add_first)
            | "BySecond" >> beam.FlatMap(by_name, "second", self._id_ranges)
        )
        return (
            {"pairs": halves, "known": known}
            | "WithSecond" >> beam.CoGroupByKey()
            | "Compare" >> beam.FlatMapTuple(_compare)
        )

    def display_data(self) -> dict[str, Any]:
        return {"bands": NUM_BANDS, "bucket_ranges": self._bucket_ranges, "id_ranges": self._id_ranges}


def _by_bucket(fingerprints: np.ndarray, num_ranges: int) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """The rows of each band by range of buckets."""
    bands = near_duplicates.bands_of(near_duplicates.fill(fingerprints["signature"]))
    rows = np.empty(len(fingerprints), _ROW)
    rows["id"] = fingerprints["id"]
    for band in range(NUM_BANDS):
        rows["key"] = near_duplicates.band_keys(bands[:, band], bands[:, (band + 1) % NUM_BANDS])
        for number, some in divide(rows, bands[:, band], 1 << 32, num_ranges):
            yield (band, number), some


def _find_candidates(_: tuple[int, int], arrays: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Arrays of PAIR, to be compared."""
    rows = _distinct(arrays)
    for found in near_duplicates.candidates(rows["key"]):
        pairs = np.empty(len(found), PAIR)
        pairs["first"], pairs["second"] = rows["id"][found[:, 0]], rows["id"][found[:, 1]]
        yield pairs


def _add_first(_: int, grouped: Mapping[str, Iterable[np.ndarray]]) -> Iterator[np.ndarray]:
    """Arrays of _HALF: each pair once, with the fingerprint of its first piece."""
    known = _distinct(grouped["known"])
    pairs = np.unique(np.concatenate([np.zeros(0, PAIR), *grouped["pairs"]]).view("S32")).view(PAIR)
    for some in _blocks(pairs):
        halves = np.empty(len(some), _HALF)
        halves["first"], halves["second"] = some["first"], some["second"]
        halves["signature"] = known["signature"][np.searchsorted(known["id"], some["first"])]
        yield halves


def _compare(_: int, grouped: Mapping[str, Iterable[np.ndarray]]) -> Iterator[np.ndarray]:
    """Arrays of PAIR: those that are the same music."""
    known = _distinct(grouped["known"])
    for halves in grouped["pairs"]:
        signatures = known["signature"][np.searchsorted(known["id"], halves["second"])]
        same = halves[near_duplicates.are_same(halves["signature"], signatures)]
        pairs = np.empty(len(same), PAIR)
        pairs["first"], pairs["second"] = same["first"], same["second"]
        yield pairs


def _distinct(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """The rows in the order of their ids; of equal pieces one."""
    rows = np.concatenate(list(arrays))
    return rows[np.unique(rows["id"], return_index=True)[1]]


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for begin in range(0, len(rows), MOST_ROWS):
        yield rows[begin : begin + MOST_ROWS]
