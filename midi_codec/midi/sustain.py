"""The sustain pedal (control 64): keys that are released while it is down continue to sound.

The pedal is down from a value of at least 64 until the next value below, or until the last note of the file ends. It
holds the notes of its channel, whichever track they and its events are on. The notes of a pedal are called a *group*
here.
"""

from __future__ import annotations

import dataclasses

import numpy as np

CONTROL = 64
DOWN_FROM = 64  # of a control's values 0..127


@dataclasses.dataclass(frozen=True, eq=False)
class Pedals:
    """Intervals in which a pedal is down, from `down` until just before `up`; those of a group do not overlap."""

    down: np.ndarray  # [m] int64, ticks
    up: np.ndarray  # [m] int64, ticks
    group: np.ndarray  # [m] int64


def from_controls(*, tick: np.ndarray, value: np.ndarray, group: np.ndarray, last_tick: np.ndarray) -> Pedals:
    """Pedals from the events of control 64.

    Args:
      tick: `[k]` int64; ascending within each group, repetitions allowed.
      value: `[k]`, 0..127.
      group: `[k]` int64, the groups in any order.
      last_tick: `[k]` int64, where a pedal that is never released ends, or where it is pressed if that is later.
    """
    order = np.argsort(group, kind="stable")
    tick, group, last_tick, is_down = tick[order], group[order], last_tick[order], value[order] >= DOWN_FROM
    begins_group = np.diff(group, prepend=-1) != 0
    was_down = np.concatenate([[False], is_down[:-1]]) & ~begins_group
    moves = np.flatnonzero(is_down != was_down | begins_group & ~is_down)
    moves = moves[is_down[moves] | was_down[moves]]
    pressed = moves[is_down[moves]]
    following = np.searchsorted(moves, pressed, side="right")
    release = np.append(moves, -1)[np.minimum(following, len(moves))]
    in_group = (release >= 0) & (group[release] == group[pressed])
    up = np.where(in_group, tick[release], np.maximum(tick, last_tick)[pressed])
    return Pedals(tick[pressed], up, group[pressed])


def extend(*, start: np.ndarray, end: np.ndarray, pitch: np.ndarray, group: np.ndarray, pedals: Pedals) -> np.ndarray:
    """The ends of notes with the pedal applied, `[n]` int64, in the given order, never earlier than before.

    A note that ends while its group's pedal is down sounds until the pedal is released or its pitch is struck again in
    its group, whichever comes first. A note that ends at the tick of the release is not held; a note that ends at the
    tick of the press is held.

    Args:
      start, end: `[n]` integers, ticks.
      pitch: `[n]`, 0..127.
      group: `[n]` integers from 0, below 2^55.
      pedals: of these groups and any others.
    """
    end = end.astype(np.int64)
    if not len(pedals.up) or not len(end):
        return end
    start, group = start.astype(np.int64), group.astype(np.int64)
    is_released, pedal = _first_from(pedals.group, pedals.up, group, end + 1)
    held = np.flatnonzero(is_released)
    held = held[pedals.down[pedal[held]] <= end[held]]
    if not len(held):
        return end
    key = group * 128 + pitch
    struck, onset = _first_from(key, start, key[held], np.maximum(end[held], start[held] + 1))
    up = pedals.up[pedal[held]]
    end[held] = np.where(struck, np.minimum(start[onset], up), up)
    return end


def _first_from(
    key: np.ndarray, time: np.ndarray, sought_key: np.ndarray, sought_time: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`([q] bool, [q] index)`: whether the key has a time from the sought one on, and the index of the first."""
    keys, times = np.concatenate([sought_key, key]), np.concatenate([sought_time, time])
    order = np.lexsort((np.arange(len(keys)) >= len(sought_key), times, keys))
    positions = np.where(order >= len(sought_key), np.arange(len(order)), len(order))
    following = np.minimum.accumulate(positions[::-1])[::-1]
    following_of = np.empty(len(order), np.int64)
    following_of[order] = following
    candidate = following_of[: len(sought_key)]
    exists = candidate < len(order)
    index = order[np.where(exists, candidate, 0)] - len(sought_key)
    exists &= index >= 0
    index = np.where(exists, index, 0)
    exists &= key[index] == sought_key
    return exists, index
