"""The arrays of a batch, from its windows.

Everything follows from (`rng_seed`, epoch, step): a run can continue at any step, and any worker can make its rows of a
batch without the others.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec import fields
from trainer.data.augmentation import NUM_DRAWS, Augmentation, augment, scale_times
from trainer.data.pieces import Pieces, is_drum

TIME_MULTIPLE = 4  # of a batch's time steps: few different lengths, and little padding


@dataclasses.dataclass(frozen=True)
class Windows:
    """Runs of consecutive events: `[n]` arrays of the piece, the first event within it, and the number of events."""

    piece: np.ndarray
    begin: np.ndarray
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.piece)

    def take(self, index: np.ndarray | slice) -> Windows:
        return Windows(self.piece[index], self.begin[index], self.length[index])


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of every global batch that one worker makes.

    Attributes:
      index: of this part among `count` equal parts.
      count: how many workers there are.
      replicas: of all workers together; the number of rows of a global batch is a multiple of it.
    """

    index: int = 0
    count: int = 1
    replicas: int = 1

    @property
    def local_replicas(self) -> int:
        return self.replicas // self.count

    def rows(self, num_rows: int) -> slice:
        """This worker's rows of a global batch of `num_rows`."""
        size = num_rows // self.count
        return slice(self.index * size, (self.index + 1) * size)


WHOLE = Part()


@dataclasses.dataclass(frozen=True)
class Batch:
    """What a step consumes: a worker's rows of a global batch. The first dimension is windows, the second time.

    Attributes:
      previous: `[rows, time, num_fields]` int32 bins of the event before.
      bins: the same shape, bins of the events predicted; zeros where there is no note.
      raw: the same shape, their values.
      is_note, is_end: `[rows, time]` float32.
      dropout_keys: `[rows, 2]` uint32.
      milliseconds_per_tick: `[rows]` float32.
      before: `[rows, memory, num_fields]` int32, values of the notes before the window, the newest last; a batch
        without a memory has none of them.
      before_is_note: `[rows, memory]` float32, 0 where the piece has not begun.
      before_tick: `[rows]` int32, from the start of the piece to the onset of the note before the window; 0 where
        there is none.
      labels: `[rows, labels]` int32, as in `Pieces.labels`.
      step_key: `[2]` uint32, the same on all workers.
      num_events: of the global batch.
    """

    previous: np.ndarray
    bins: np.ndarray
    raw: np.ndarray
    is_note: np.ndarray
    is_end: np.ndarray
    dropout_keys: np.ndarray
    milliseconds_per_tick: np.ndarray
    before: np.ndarray
    before_is_note: np.ndarray
    before_tick: np.ndarray
    labels: np.ndarray
    step_key: np.ndarray
    num_events: int

    def as_dict(self) -> dict[str, np.ndarray]:
        names = [field.name for field in dataclasses.fields(self) if field.name != "num_events"]
        return {name: getattr(self, name) for name in names}

    def rows(self, index: slice) -> dict[str, np.ndarray]:
        """The arrays of some of its rows; `step_key`, which belongs to no row, stays whole."""
        return {name: array if name == "step_key" else array[index] for name, array in self.as_dict().items()}


def keyed_rng(*key: int) -> np.random.Generator:
    """A random stream from whole numbers, the same on any machine.

    The number of keys is part of the seed, since NumPy pads keys with zeros.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((*key, len(key)))))


def make_batch(
    pieces: Pieces,
    windows: Windows,
    *,
    table: fields.FieldTable,
    batch_size: int,
    start_bins: np.ndarray,
    amounts: Augmentation | None = None,
    rng: np.random.Generator | None = None,
    label_dropout: float = 0.0,
    memory: int = 0,
    part: Part = WHOLE,
) -> Batch:
    """Gathers windows into arrays, padded to `batch_size` rows and a multiple of `TIME_MULTIPLE` events.

    Args:
      pieces: the split.
      windows: of the global batch, at most `batch_size` of them.
      table: the fields.
      start_bins: `[num_fields]`, the input at a piece's first event.
      amounts, rng: augmentation and the stream it draws from; None leaves the notes as they are.
      label_dropout: with `rng`, the share of the labels that are unknown.
      memory: how many notes before the window are included. They are augmented as the window is, and only so much
        that they stay within range too.
      part: which rows are gathered; the draws of `rng` are those of the whole batch, and a row's do not depend on it.
    """
    size = -(-max(int(windows.length.max()), 1) // TIME_MULTIPLE) * TIME_MULTIPLE
    own, lead = part.rows(batch_size), max(memory, 1)  # the event before is an input
    rows = _copy_rows(pieces, windows, own, batch_size=batch_size, lead=lead, size=size)
    is_note, raw = rows.is_note, rows.raw
    before_tick = np.zeros(len(raw), np.int32)
    if memory:
        before_tick = np.where(is_note[:, lead - 1], rows.events["onset"][:, lead - 1], 0)

    labels = pieces.labels[rows.piece]
    step_key, keys = np.zeros(2, np.uint32), np.zeros((0, 2), np.uint32)
    if rng is not None:
        step_key = rng.integers(0, 2**32, 2, np.uint32)
        keys = rng.integers(0, 2**32, (len(windows), 2), np.uint32)
        if amounts is not None:
            draws = _pad(rng.random((len(windows), NUM_DRAWS)), batch_size)[own]
            drums = is_drum(rows.events) & is_note
            raw = augment(raw, is_note=is_note, is_drum=drums, table=table, amounts=amounts, draws=draws)
            before_tick = scale_times(before_tick, amounts, draws)
        if labels.size and label_dropout:
            drawn = _pad(rng.random((len(windows), labels.shape[1])), batch_size)[own]
            labels = np.where(drawn < label_dropout, 0, labels)

    recent, is_recent = raw[:, lead - 1 :], is_note[:, lead - 1 :]  # [rows, 1 + size]
    bins = np.zeros(recent.shape, np.int32)
    bins[is_recent] = table.encode(recent[is_recent])
    return Batch(
        previous=np.where(rows.is_first[:, lead:, None], start_bins, bins[:, :-1]).astype(np.int32),
        bins=bins[:, 1:],
        raw=raw[:, lead:].astype(np.int32),
        is_note=is_note[:, lead:].astype(np.float32),
        is_end=rows.is_end[:, lead:].astype(np.float32),
        dropout_keys=_pad(keys, batch_size)[own],
        milliseconds_per_tick=pieces.index["milliseconds_per_tick"][rows.piece],
        before=raw[:, :memory].astype(np.int32),
        before_is_note=is_note[:, :memory].astype(np.float32),
        before_tick=before_tick,
        labels=labels.astype(np.int32),
        step_key=step_key,
        num_events=int(windows.length.sum()),
    )


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Some rows of a batch: the events of a window, and a few before it.

    Attributes:
      piece: `[rows]`.
      events: `[rows, lead + size]`.
      raw: `[rows, lead + size, num_fields]` int32; zeros where there is no note.
      is_note, is_end: `[rows, lead + size]` bool.
      is_first: `[rows, lead + size]` bool, whether it is the first event of its piece.
    """

    piece: np.ndarray
    events: np.ndarray
    raw: np.ndarray
    is_note: np.ndarray
    is_end: np.ndarray
    is_first: np.ndarray


def _copy_rows(pieces: Pieces, windows: Windows, own: slice, *, batch_size: int, lead: int, size: int) -> _Rows:
    """Copies the rows `own` of a batch: `lead` events before each window, and `size` from its beginning."""
    piece, begin, length = (_pad(column, batch_size)[own] for column in (windows.piece, windows.begin, windows.length))
    index = pieces.index[piece]
    # One event more at the beginning: a step is the difference of two onsets.
    events = np.zeros((len(piece), 1 + lead + size), pieces.events.dtype)
    rows, split, width = events.view(np.uint8), pieces.events.view(np.uint8), events.dtype.itemsize  # bytes copy faster
    place = (begin - lead - 1).tolist()
    for row, (first, at, end) in enumerate(
        zip(index["first_event"].tolist(), place, (begin + length).tolist(), strict=True)
    ):
        start = max(at, 0)
        rows[row, (start - at) * width : (end - at) * width] = split[(first + start) * width : (first + end) * width]
    in_piece = begin[:, None] + np.arange(-lead, size)  # the index of each event within its piece
    is_event = (in_piece >= 0) & (in_piece < (begin + length)[:, None])
    is_last = in_piece == (index["num_events"] - 1)[:, None]
    raw = pieces.values(events)[:, 1:]
    raw[~(is_event & ~is_last)] = 0
    return _Rows(
        piece=piece,
        events=events[:, 1:],
        raw=raw,
        is_note=is_event & ~is_last,
        is_end=is_event & is_last,
        is_first=in_piece == 0,
    )


def _pad(rows: np.ndarray, size: int) -> np.ndarray:
    """The rows, padded with zeros to `size`."""
    return np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)])
