"""Turns a chunk of inputs into a part: reads, parses or salvages, cleans, packs and fingerprints the files.

Files are processed in batches whose notes are concatenated columns, so that the files share the cost of each NumPy
call. The result does not depend on the batches.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np

from beam_pipelines.corpus import chunk_reader
from beam_pipelines.corpus.chunk_reader import Item
from beam_pipelines.encoding import attributes, cleaning, fingerprints, part_file
from beam_pipelines.encoding.ledger import Reject, Salvaged
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.encoding.value_counts import ValueCounts
from beam_pipelines.settings.encode_settings import Settings
from midi_codec.dataset import labels as labels_lib
from midi_codec.dataset import records, tfrecord_framing
from midi_codec.dataset.dataset_info import SPLITS
from midi_codec.midi import midi_file
from midi_codec.music.note_batch import NoteBatch

FILES_PER_BATCH = 64
BYTES_PER_BATCH = 4 << 20  # of files; a larger file is a batch of its own
SPLIT_INDICES = {split: index for index, split in enumerate(SPLITS)}


def encode_chunk(
    chunk: bytes,
    settings: Settings,
    *,
    known: Known | None = None,
    on_files: Callable[[int], None] = lambda _: None,
) -> tuple[Part, bytes]:
    """Reads and parses the inputs of a chunk.

    Args:
      known: inputs that an older dataset accounts for; they are skipped.
      on_files: called after each batch with its number of files; may raise to stop.

    Returns:
      The part, and its records, framed.
    """
    builder = PartBuilder(settings, known)
    items = chunk_reader.read(chunk, max_bytes=settings.limits.max_bytes)
    for batch in batches(items):
        builder.num_listed += len(batch)
        _encode_batch(batch, builder)
        on_files(len(batch))
    return builder.build()


@dataclasses.dataclass(frozen=True)
class Known:
    """Inputs of an older dataset: the `content_key`s of those it read, and sources of those it could not read."""

    contents: Collection[bytes] = ()
    unread: frozenset[str] = frozenset()


def content_key(source: str, sha256: bytes) -> bytes:
    """16 bytes that identify an input in a later run: a hash of its name and content."""
    return hashlib.sha256(source.encode("utf-8", "surrogateescape") + b"\0" + sha256).digest()[:16]


def batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The inputs, as many together as are parsed together."""
    batch: list[Item] = []
    num_bytes = 0
    for item in items:
        batch.append(item)
        num_bytes += len(item.data or b"")
        if len(batch) == FILES_PER_BATCH or num_bytes >= BYTES_PER_BATCH:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _encode_batch(items: Sequence[Item], builder: PartBuilder) -> None:
    settings = builder.settings
    sources: list[str] = []
    files: list[bytes] = []
    digests: list[bytes] = []
    for item in items:
        if item.data is None:
            assert item.reason is not None and item.message is not None
            builder.reject(Reject(item.source, None, "read", item.reason, item.message))
            continue
        digest = hashlib.sha256(item.data).digest()
        if builder.add_content(item.source, digest):
            sources.append(item.source)
            files.append(item.data)
            digests.append(digest)
            builder.num_bytes += len(item.data)
    parsed = midi_file.parse_many(
        files,
        time_base=settings.time_base,
        limits=settings.limits,
        apply_sustain=settings.cleaning.apply_sustain,
    )
    for row, error in parsed.errors.items():
        builder.reject(Reject(sources[row], digests[row].hex(), "parse", error.reason, str(error)))
    cleaned = cleaning.clean(parsed.batch, settings.cleaning)
    for index, reason, message in cleaned.drops:
        row = int(parsed.rows[index])
        builder.reject(Reject(sources[row], digests[row].hex(), "clean", reason, message))
    kept = parsed.rows[cleaned.rows].tolist()
    for row in kept:
        if row in parsed.salvage_levels:
            builder.salvaged.append(Salvaged(sources[row], digests[row].hex(), parsed.salvage_levels[row]))
    builder.add_pieces(cleaned.batch, [sources[row] for row in kept])


class PartBuilder:
    """Collects the results of a chunk."""

    def __init__(self, settings: Settings, known: Known | None = None):
        self.settings = settings
        self.salvaged: list[Salvaged] = []
        self.num_bytes = self.num_listed = 0
        self._known = known or Known()
        self._found_again: list[str] = []
        self._rejects: list[Reject] = []
        self._contents: list[bytes] = []
        self._sources: list[str] = []
        self._rows: list[np.ndarray] = []
        self._signatures: list[np.ndarray] = []
        self._labels: list[bytes] = []
        self._records: list[bytes] = []
        self._value_counts = ValueCounts()

    def reject(self, reject: Reject) -> None:
        self._rejects.append(reject)

    def add_content(self, source: str, sha256: bytes) -> bool:
        """Whether an input is new."""
        key = content_key(source, sha256)
        if key in self._known.contents:
            if source in self._known.unread:
                self._found_again.append(source)
            return False
        self._contents.append(key)
        return True

    def add_pieces(self, batch: NoteBatch, sources: Sequence[str]) -> None:
        """Adds newcomers; no piece may be empty."""
        ids = batch.piece_ids()
        assign, rule = self.settings.split_rule.assign, self.settings.labels
        labels = [b""] * len(ids)
        if rule.is_given:
            computed = attributes.of_batch(batch, rule.attributes)
            pairs = zip(sources, computed, strict=True)
            labels = [labels_lib.serialize({**rule.of(source), **own}) for source, own in pairs]
        packed = records.serialize_batch(batch, piece_ids=ids, sources=sources, labels=labels)
        splits = [
            SPLIT_INDICES[assign(group_id=piece_id, source=source)]
            for piece_id, source in zip(ids, sources, strict=True)
        ]
        self._add(batch, ids, sources, packed, labels, np.array(splits, np.uint8), group_ids=b"")

    def add_old_pieces(self, pieces: Sequence[records.Piece], packed: Sequence[bytes], split: str) -> None:
        """Adds pieces of an older dataset, which keep their group and split."""
        batch = NoteBatch.from_notes([piece.notes for piece in pieces], self.settings.time_base)
        groups = np.array([piece.group_id.encode() for piece in pieces], "S32")
        splits = np.full(len(pieces), SPLIT_INDICES[split], np.uint8)
        ids, sources = [piece.piece_id for piece in pieces], [piece.source for piece in pieces]
        labels = [labels_lib.serialize(piece.labels) for piece in pieces]
        self._add(batch, ids, sources, packed, labels, splits, group_ids=groups)

    def _add(
        self,
        batch: NoteBatch,
        ids: Sequence[str],
        sources: Sequence[str],
        packed: Sequence[bytes],
        labels: Sequence[bytes],
        splits: np.ndarray,
        group_ids: np.ndarray | bytes,
    ) -> None:
        if not len(batch):
            return
        framed = [tfrecord_framing.write_records([record]) for record in packed]
        rows = np.zeros(len(batch), part_file.ROW)
        rows["piece_id"] = [piece_id.encode() for piece_id in ids]
        rows["path_group"] = [self.settings.path_group(source) for source in sources]
        rows["group_id"] = group_ids
        rows["split"] = splits
        rows["shard"] = [shard_of(piece_id, self.settings.num_shards) for piece_id in ids]
        rows["num_notes"] = np.diff(batch.offsets)
        rows["seconds"] = batch.seconds()
        rows["length"] = [len(record) for record in framed]
        self._rows.append(rows)
        self._sources += sources
        self._records += framed
        self._labels += labels
        self._signatures.append(fingerprints.of_batch(batch))
        self._value_counts.add(batch, splits)

    def build(self) -> tuple[Part, bytes]:
        """The part and its records, both sorted by shard, so that a shard's records are adjacent."""
        rows = np.concatenate([np.zeros(0, part_file.ROW), *self._rows])
        order = np.argsort(rows["shard"], kind="stable")
        rows = rows[order]
        rows["offset"] = np.cumsum(rows["length"], dtype=np.uint64) - rows["length"]
        empty = np.zeros((0, fingerprints.NUM_VALUES), fingerprints.DTYPE)
        part = Part(
            rows=rows,
            sources=[self._sources[index] for index in order],
            signatures=np.concatenate([empty, *self._signatures])[order],
            contents=np.frombuffer(b"".join(self._contents), ">u8").reshape(-1, 2),
            labels=[self._labels[index].decode() for index in order] if any(self._labels) else [],
            counts=self._value_counts.counts(),
            rejects=self._rejects,
            salvaged=self.salvaged,
            num_inputs=len(rows) + len(self._rejects),
            num_listed=self.num_listed,
            found_again=self._found_again,
            num_bytes=self.num_bytes,
        )
        return part, b"".join([self._records[index] for index in order])


def shard_of(piece_id: str, num_shards: int) -> int:
    """The shard of a piece, whatever its split; so equal pieces get the same shard number."""
    return int(hashlib.sha256(b"shard " + piece_id.encode()).hexdigest()[:16], 16) % num_shards
