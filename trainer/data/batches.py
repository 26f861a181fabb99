"""Which notes are in which batch, and the arrays of a batch.

Each epoch cuts every piece into windows at a new random offset, so that each event is predicted exactly once per epoch.
Windows of similar length share a batch, which keeps padding small. Everything follows from (`rng_seed`, epoch, step):
a run can continue at any step, and any worker can make its rows of a batch without the others.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec import fields
from trainer.data.augmentation import NUM_DRAWS, Augmentation, augment, scale_times
from trainer.data.pieces import Pieces

TIME_MULTIPLE = 4  # of a batch's time steps: few different lengths, and little padding
SORTED_BATCHES = 64  # windows are sorted by length within this many batches: little padding, much shuffling


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
    step_key: np.ndarray
    num_events: int

    def as_dict(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[:-1]}

    def rows(self, index: slice) -> dict[str, np.ndarray]:
        """The arrays of some of its rows; `step_key`, which belongs to no row, stays whole."""
        return {name: array if name == "step_key" else array[index] for name, array in self.as_dict().items()}


def keyed_rng(*key: int) -> np.random.Generator:
    """A random stream from whole numbers, the same on any machine.

    The number of keys is part of the seed, since NumPy pads keys with zeros.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((*key, len(key)))))


def cut_windows(num_events: np.ndarray, window: int, rng: np.random.Generator) -> Windows:
    """Cuts every piece at a random offset and then after every `window` events; pieces that fit stay whole."""
    fits = num_events <= window
    first = np.where(fits, num_events, 1 + np.floor(rng.random(len(num_events)) * window).astype(np.int64))
    counts = 1 + -(-(num_events - first) // window)
    piece = np.repeat(np.arange(len(num_events)), counts)
    order = np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts)  # 0, 1, ... within a piece
    begin = np.where(order == 0, 0, first[piece] + (order - 1) * window)
    size = np.where(order == 0, first[piece], window)
    return Windows(piece, begin, np.minimum(size, num_events[piece] - begin))


def plan_epoch(num_events: np.ndarray, *, window: int, batch_size: int, rng_seed: int, epoch: int) -> list[Windows]:
    """The batches of an epoch, in order; the last ones may hold fewer than `batch_size` windows."""
    rng = keyed_rng(rng_seed, epoch)
    windows = cut_windows(num_events, window, rng)
    shuffled = windows.take(rng.permutation(len(windows)))
    batches = []
    pool_size = batch_size * SORTED_BATCHES
    for start in range(0, len(shuffled), pool_size):
        pool = shuffled.take(slice(start, start + pool_size))
        by_length = pool.take(np.argsort(-pool.length, kind="stable"))
        batches += [by_length.take(slice(row, row + batch_size)) for row in range(0, len(pool), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def make_batch(
    pieces: Pieces,
    windows: Windows,
    *,
    table: fields.FieldTable,
    batch_size: int,
    start_bins: np.ndarray,
    amounts: Augmentation | None = None,
    rng: np.random.Generator | None = None,
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
      memory: how many notes before the window are included. They are augmented as the window is, and only so much
        that they stay within range too.
      part: which rows are gathered; the draws of `rng` are those of the whole batch, and a row's do not depend on it.
    """
    size = -(-max(int(windows.length.max()), 1) // TIME_MULTIPLE) * TIME_MULTIPLE
    own, lead = part.rows(batch_size), max(memory, 1)  # the event before is an input
    events = _find_events(pieces, windows, own, batch_size=batch_size, lead=lead, size=size)
    is_note = events.is_note
    raw = np.where(is_note[..., None], pieces.raw[events.index], 0)
    before_tick = np.zeros(len(raw), np.int32)
    if memory:
        before_tick = np.where(is_note[:, lead - 1], pieces.onset[events.index[:, lead - 1]], 0)

    step_key, keys = np.zeros(2, np.uint32), np.zeros((0, 2), np.uint32)
    if rng is not None:
        step_key = rng.integers(0, 2**32, 2, np.uint32)
        keys = rng.integers(0, 2**32, (len(windows), 2), np.uint32)
        if amounts is not None:
            draws = _pad(rng.random((len(windows), NUM_DRAWS)), batch_size)[own]
            is_drum = pieces.is_drum[events.index] & is_note
            raw = augment(raw, is_note=is_note, is_drum=is_drum, table=table, amounts=amounts, draws=draws)
            before_tick = scale_times(before_tick, amounts, draws)

    recent, is_recent = raw[:, lead - 1 :], is_note[:, lead - 1 :]  # [rows, 1 + size]
    bins = np.zeros(recent.shape, np.int32)
    bins[is_recent] = table.encode(recent[is_recent])
    return Batch(
        previous=np.where(events.is_first[:, lead:, None], start_bins, bins[:, :-1]).astype(np.int32),
        bins=bins[:, 1:],
        raw=raw[:, lead:].astype(np.int32),
        is_note=is_note[:, lead:].astype(np.float32),
        is_end=events.is_end[:, lead:].astype(np.float32),
        dropout_keys=_pad(keys, batch_size)[own],
        milliseconds_per_tick=pieces.milliseconds_per_tick[events.piece],
        before=raw[:, :memory].astype(np.int32),
        before_is_note=is_note[:, :memory].astype(np.float32),
        before_tick=before_tick,
        step_key=step_key,
        num_events=int(windows.length.sum()),
    )


@dataclasses.dataclass(frozen=True)
class _Events:
    """The events of some rows of a batch: a window's, and a few before it.

    Attributes:
      piece: `[rows]`.
      index: `[rows, lead + size]`, of the event in the split; 0 where there is no note.
      is_note, is_end: `[rows, lead + size]` bool.
      is_first: `[rows, lead + size]` bool, whether it is the first event of its piece.
    """

    piece: np.ndarray
    index: np.ndarray
    is_note: np.ndarray
    is_end: np.ndarray
    is_first: np.ndarray


def _find_events(pieces: Pieces, windows: Windows, own: slice, *, batch_size: int, lead: int, size: int) -> _Events:
    """Finds the events of the rows `own` of a batch: `lead` before each window, and `size` from its beginning."""
    piece, begin, length = (_pad(column, batch_size)[own] for column in (windows.piece, windows.begin, windows.length))
    in_piece = begin[:, None] + np.arange(-lead, size)  # the index of each event within its piece
    is_event = (in_piece >= 0) & (in_piece < (begin + length)[:, None])
    is_last = in_piece == (pieces.num_events[piece] - 1)[:, None]
    is_note = is_event & ~is_last
    return _Events(
        piece=piece,
        index=np.where(is_note, pieces.first_event[piece][:, None] + in_piece, 0),
        is_note=is_note,
        is_end=is_event & is_last,
        is_first=in_piece == 0,
    )


def _pad(rows: np.ndarray, size: int) -> np.ndarray:
    """The rows, padded with zeros to `size`."""
    return np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)])
