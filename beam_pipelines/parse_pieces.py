"""The first half of an encode: read files, parse them, pack records; sort out what cannot be used."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_pipelines.corpus import path_of
from beam_pipelines.ledger import Reject
from beam_pipelines.settings import Settings
from midi_codec import midi_file, records, storage

METRICS = "encode_corpus"  # the namespace of our counters


class ParsePieces(beam.PTransform):
    """Reads and parses MIDI files.

    Input: chunks, lists of (source, bytes the listing saw). Outputs: `pieces`, (shard, record);
    `rejects`, one Reject a file that cannot be used. Every file reaches exactly one output. Counters:
    `inputs`, `parsed`, `notes`, `rejected`, `rejected_<reason>`.
    """

    def __init__(self, roots: Mapping[str, str], settings: Settings, progress_path: str | None = None):
        super().__init__()
        self._fn = _ParsePiecesFn(roots, settings, progress_path)

    def expand(self, chunks):
        return chunks | "Parse" >> beam.ParDo(self._fn).with_outputs("rejects", main="pieces")


class _ParsePiecesFn(beam.DoFn):
    def __init__(self, roots: Mapping[str, str], settings: Settings, progress_path: str | None):
        self._roots = roots
        self._settings = settings
        self._progress_path = progress_path

    def process(self, chunk: Iterable[tuple[str, int]]) -> Iterator:
        num_files = num_parsed = num_notes = 0
        for source, size in chunk:
            num_files += 1
            try:
                data = self._read(source, size)
                notes = self._parse(source, data)
            except _RejectedError as rejected:
                Metrics.counter(METRICS, "rejected").inc()
                Metrics.counter(METRICS, f"rejected_{rejected.reject.reason}").inc()
                yield beam.pvalue.TaggedOutput("rejects", rejected.reject)
                continue
            num_parsed += 1
            num_notes += len(notes)
            piece_id = notes.piece_id
            record = records.serialize_columns(piece_id=piece_id, group_id=piece_id, source=source, notes=notes)
            yield shard_of(piece_id, self._settings.num_shards), record
        Metrics.counter(METRICS, "inputs").inc(num_files)
        Metrics.counter(METRICS, "parsed").inc(num_parsed)
        Metrics.counter(METRICS, "notes").inc(num_notes)
        if self._progress_path:
            note_progress(self._progress_path, num_files)

    def _read(self, source: str, size: int) -> bytes:
        limit = self._settings.limits.max_bytes
        if size > limit:  # not read at all, so there is no hash of it either
            message = f"the file has {size:,} bytes, want at most {limit:,}"
            raise _RejectedError(Reject(source, None, "read", "too_large", message))
        try:
            return storage.read_bytes(path_of(source, self._roots))
        except (FileNotFoundError, PermissionError) as error:
            message = f"the file cannot be read: {error.strerror}"
            raise _RejectedError(Reject(source, None, "read", "unreadable", message)) from error

    def _parse(self, source: str, data: bytes):
        try:
            return midi_file.parse(data, time_base=self._settings.time_base, limits=self._settings.limits)
        except midi_file.MidiError as error:
            reject = Reject(source, hashlib.sha256(data).hexdigest(), "parse", error.reason, str(error))
            raise _RejectedError(reject) from error
        except Exception as error:  # our bug; say which file shows it
            raise RuntimeError(f"parsing {path_of(source, self._roots)} failed: {error}") from error


class _RejectedError(Exception):
    def __init__(self, reject: Reject):
        super().__init__(reject.message)
        self.reject = reject


def shard_of(piece_id: str, num_shards: int) -> int:
    """The shard a piece lies in, whatever its split; so equal pieces meet in one place."""
    return int(hashlib.sha256(b"shard " + piece_id.encode()).hexdigest()[:16], 16) % num_shards


def note_progress(path: str, num_files: int) -> None:
    """Makes the file at `path` longer by a byte a file, for the command to watch.

    Appending is atomic, so worker processes can share the file. On another host there is none.
    """
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, b"." * num_files)
        finally:
            os.close(descriptor)
