"""Which notes stand in which batch, and the arrays of a batch.

An epoch cuts every piece into windows at an offset drawn anew, so that each event is predicted exactly once an epoch.
Windows of like length share a batch, which keeps padding small. Everything follows from (`rng_seed`, epoch, step):
a run can go on at any step, and any worker can make its rows of a batch without the others.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec import fields
from trainer.data.augmentation import NUM_DRAWS, Augmentation, augment, scale_times
from trainer.data.pieces import Pieces

TIME_MULTIPLE = 4  # of a batch's time steps: few different lengths, and little padding
SORTED_BATCHES = 64  # windows are sorted by length within so many batches: little padding, much shuffling


@dataclasses.dataclass(frozen=True)
class Windows:
    """Runs of events: `[n]` arrays of the piece, the first event within it, and how many events."""

    piece: np.ndarray
    begin: np.ndarray
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.piece)

    def take(self, index: np.ndarray | slice) -> Windows:
        return Windows(self.piece[index], self.begin[index], self.length[index])


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of every global batch that one worker makes: of `count` equal parts, the one numbered `index`.

    Attributes:
      replicas: of all workers together; a global batch has a multiple of so many rows.
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
        """The arrays of some of its rows; `step_key`, which is no row's, stays whole."""
        return {name: array if name == "step_key" else array[index] for name, array in self.as_dict().items()}


def keyed_rng(*key: int) -> np.random.Generator:
    """A stream from whole numbers, the same on any machine. The length is in it, since NumPy pads keys with zeros."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((*key, len(key)))))


def cut_windows(num_events: np.ndarray, window: int, rng: np.random.Generator) -> Windows:
    """Cuts every piece at a random offset and then every `window` events; pieces that fit stay whole."""
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
    time: int | None = None,
    memory: int = 0,
    part: Part = WHOLE,
) -> Batch:
    """Gathers windows into arrays, padded to `batch_size` rows and a multiple of `TIME_MULTIPLE` events.

    Args:
      pieces: the split.
      windows: of the global batch, at most `batch_size` of them.
      table: the fields.
      start_bins: `[num_fields]`, what stands before a piece's first event.
      amounts, rng: augmentation and the stream it draws from; None leaves the notes as they are.
      time: the exact number of time steps, instead of the longest window rounded up.
      memory: how many notes before the window come along. They are changed as the window is, and a change must keep
        them within range too.
      part: whose rows are gathered; the draws of `rng` are those of the whole batch, and a row's do not depend on it.
    """
    size = -(-max(int(windows.length.max()), 1) // TIME_MULTIPLE) * TIME_MULTIPLE if time is None else time
    own = part.rows(batch_size)
    piece, begin, length = (_pad(column, batch_size)[own] for column in (windows.piece, windows.begin, windows.length))
    lead = max(memory, 1)  # the event before is an input
    place = begin[:, None] + np.arange(-lead, size)  # [rows, lead + size]
    events = pieces.first_event[piece][:, None] + place
    inside = (place >= 0) & (place < (begin + length)[:, None])
    last = place == (pieces.num_events[piece] - 1)[:, None]
    is_note = inside & ~last
    events = np.where(is_note, events, 0)
    raw = np.where(is_note[..., None], pieces.raw[events], 0)
    before_tick = np.zeros(len(piece), np.int32)
    if memory:
        before_tick = np.where(is_note[:, lead - 1], pieces.onset[events[:, lead - 1]], 0)
    step_key, keys = np.zeros(2, np.uint32), np.zeros((0, 2), np.uint32)
    if rng is not None:
        step_key = rng.integers(0, 2**32, 2, np.uint32)
        keys = rng.integers(0, 2**32, (len(windows), 2), np.uint32)
        if amounts is not None:
            draws = _pad(rng.random((len(windows), NUM_DRAWS)), batch_size)[own]
            is_drum = pieces.is_drum[events] & is_note
            raw = augment(raw, is_note=is_note, is_drum=is_drum, table=table, amounts=amounts, draws=draws)
            before_tick = scale_times(before_tick, amounts, draws)
    recent, is_recent = raw[:, lead - 1 :], is_note[:, lead - 1 :]  # [rows, 1 + size]
    bins = np.zeros(recent.shape, np.int32)
    bins[is_recent] = table.encode(recent[is_recent])
    at_start = place[:, lead:] == 0
    return Batch(
        previous=np.where(at_start[..., None], start_bins, bins[:, :-1]).astype(np.int32),
        bins=bins[:, 1:],
        raw=raw[:, lead:].astype(np.int32),
        is_note=is_note[:, lead:].astype(np.float32),
        is_end=(inside & last)[:, lead:].astype(np.float32),
        dropout_keys=_pad(keys, batch_size)[own],
        milliseconds_per_tick=pieces.milliseconds_per_tick[piece],
        before=raw[:, :memory].astype(np.int32),
        before_is_note=is_note[:, :memory].astype(np.float32),
        before_tick=before_tick,
        step_key=step_key,
        num_events=int(windows.length.sum()),
    )


def _pad(rows: np.ndarray, size: int) -> np.ndarray:
    """The rows with zeros after them, `size` in all."""
    return np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)])
