"""Makes an index in a folder: first a part per shard of the dataset, then the columns.

    INDEX/parts/DATASET/text-00003/...      the columns of one shard; its `sizes.json` is written last
    INDEX/parts/DATASET/order-00003         one bucket of the sorted positions
    INDEX/symbol, ... , index.json          the parts joined; then the parts are deleted

Tasks make parts (`make_share`), each the text parts that are its own; then, if all of them are there, its own buckets.
`finish` makes what is missing and joins it: alone it makes the whole index. Which part holds what depends on the
dataset alone, so every number of tasks gives the same bytes, and a restart makes what is missing. Memory is that of one
shard and one bucket.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np

from generation_jobs.memorisation import index_files
from generation_jobs.memorisation.index_files import COLUMNS, MAX_ENTRIES, ORDER, TEXT
from generation_jobs.memorisation.suffix_sort import DEPTH, Buckets
from job_runtime import json_text, storage
from job_runtime.command import TO_CONTINUE, Interrupted
from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError
from midi_codec.dataset.records import Piece
from midi_codec.measures.note_strings import BOUNDARY, strings_of

_NOTES_AT_ONCE = 1 << 18  # so that the work fits a processor's cache
_SIZES = "sizes.json"
_PADDING = {"symbol": np.full(DEPTH, BOUNDARY, TEXT["symbol"]), "step": np.zeros(DEPTH, TEXT["step"])}
NOTES_PER_PART = 1 << 20  # of pieces that are in no shard


@dataclasses.dataclass
class Build:
    """An index that is being made.

    Attributes:
      sources: the pieces of each text part; those of parts that exist are not read.
      durable: whether the files are to survive a crash of the machine.
      is_stopped: asked every second or so; finished parts stay.
    """

    folder: str
    sources: Iterable[Iterable[Piece]]
    time_base: str
    dataset: str  # hash
    durable: bool = True
    is_stopped: Callable[[], bool] = lambda: False
    num_parts: int = 0  # known once all sources were looked at

    @property
    def is_done(self) -> bool:
        """Whether the folder holds this index, whole."""
        try:
            return index_files.read_info(self.folder)["dataset"] == self.dataset
        except (FileNotFoundError, UserError):
            return False

    def make_share(self, task_index: int, num_tasks: int) -> bool:
        """Makes a task's parts; returns whether the buckets could be made, for which all text parts are needed.

        Raises:
          Interrupted: a stop was asked for; finished parts stay.
        """
        self._make_text(lambda part: part % num_tasks == task_index)
        done = self._done()
        if any(self._text(part) not in done for part in range(self.num_parts)):
            return False
        buckets = Buckets.of(self._symbols(), self._check)
        self._make_order(buckets, range(task_index, len(buckets), num_tasks), done)
        return True

    def finish(self) -> None:
        """Makes the missing parts, then the index.

        Raises:
          Interrupted: as `make_share`. UserError: there are too many notes for one index.
        """
        self._make_text(lambda _: True)
        buckets = Buckets.of(self._symbols(), self._check)
        self._make_order(buckets, range(len(buckets)), self._done())
        storage.delete(storage.join(self.folder, index_files.INDEX_FILE))
        files: dict[str, int] = dict.fromkeys(COLUMNS, 0)
        checksums = dict(files)
        for name in COLUMNS:

            def parts(name: str = name) -> Iterator[bytes]:
                for part in self._column_parts(name, len(buckets)):
                    files[name] += len(part)
                    checksums[name] = index_files.crc(part, checksums[name])
                    yield part

            storage.write_parts(storage.join(self.folder, name), parts(), durable=self.durable)
        index_files.write_info(
            self.folder, time_base=self.time_base, dataset=self.dataset, files=files, checksums=checksums
        )
        storage.delete_folder(storage.join(self.folder, index_files.PARTS_FOLDER))

    # -------------------------------------------------------------------------------------------- parts

    @property
    def _parts(self) -> str:
        return storage.join(self.folder, index_files.PARTS_FOLDER, self.dataset)

    def _text(self, part: int) -> str:
        return f"text-{part:05d}/{_SIZES}"

    def _done(self) -> set[str]:
        prefix = f"{self._parts}/"
        return {entry.path[len(prefix) :] for entry in storage.list_files(prefix, missing_ok=True)}

    def _make_text(self, is_own: Callable[[int], bool]) -> None:
        done = self._done()
        self.num_parts = 0
        for part, pieces in enumerate(self.sources):
            self.num_parts += 1
            if self._text(part) in done or not is_own(part):
                continue
            columns = _columns_of(self._batches(pieces), self.time_base)
            for name, column in columns.items():
                self._write(f"text-{part:05d}/{name}", column.tobytes())
            self._write(self._text(part), json.dumps({name: len(column) for name, column in columns.items()}).encode())

    def _check(self) -> None:
        if self.is_stopped():
            raise Interrupted(TO_CONTINUE)

    def _batches(self, pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
        for some in in_batches(pieces, _NOTES_AT_ONCE):
            self._check()
            yield some

    def _write(self, name: str, data: bytes) -> None:
        storage.write_bytes(storage.join(self._parts, name), data, durable=self.durable)

    def _symbols(self) -> np.ndarray:
        """`[total + DEPTH]`, on disk."""
        sizes = [json_text.load(storage.join(self._parts, self._text(part)), dict) for part in range(self.num_parts)]
        total = sum(each["symbol"] for each in sizes)
        if total > MAX_ENTRIES:
            raise UserError(f"the training split has {total:,} notes, want at most {MAX_ENTRIES:,} for one index")
        return index_files.mapped(self._column_parts("symbol", 0), TEXT["symbol"])

    def _make_order(self, buckets: Buckets, chosen: Iterable[int], done: Collection[str]) -> None:
        missing = [bucket for bucket in chosen if f"order-{bucket:05d}" not in done]
        found = buckets.sort(missing) if missing else iter(())
        for bucket, order in progress(found, total=len(missing), unit="buckets", label="sorting") if missing else ():
            self._write(f"order-{bucket:05d}", order.tobytes())
            self._check()

    def _column_parts(self, name: str, num_buckets: int) -> Iterator[bytes]:
        if name == ORDER:
            paths = [f"order-{bucket:05d}" for bucket in range(num_buckets)]
        else:
            paths = [f"text-{part:05d}/{name}" for part in range(self.num_parts)]
        for path in paths:
            self._check()
            yield storage.read_bytes(storage.join(self._parts, path))
        if name in _PADDING:
            yield _PADDING[name].tobytes()


def _columns_of(batches: Iterable[list[Piece]], time_base: str) -> dict[str, np.ndarray]:
    """Raises ValueError when a piece is on another grid."""
    found: dict[str, list[np.ndarray]] = {name: [np.zeros(0, dtype)] for name, dtype in TEXT.items()}
    for some in batches:
        strings = strings_of([piece.notes for piece in some], time_base)
        names = [f"{piece.piece_id}\0{piece.source}".encode("utf-8", "surrogateescape") for piece in some]
        columns = {
            "symbol": strings.symbol,
            "step": strings.step,
            "note": strings.note,
            "pitch": strings.pitch,
            "length": np.diff(strings.offsets),
            "name_length": np.array(list(map(len, names))),
            "name": np.frombuffer(b"".join(names), np.uint8),
        }
        for name, column in columns.items():
            found[name].append(column.astype(TEXT[name], copy=False))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def in_batches(pieces: Iterable[Piece], num_notes_each: int = NOTES_PER_PART) -> Iterator[list[Piece]]:
    """Pieces together until they have so many notes."""
    some: list[Piece] = []
    num_notes = 0
    for piece in pieces:
        some.append(piece)
        num_notes += len(piece.notes)
        if num_notes >= num_notes_each:
            yield some
            some, num_notes = [], 0
    if some:
        yield some
