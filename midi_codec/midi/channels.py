"""Assigns each note of a written file to a track and to one of the sixteen channels.

A *voice* is a set of notes of one program that do not overlap on a key. A program needs a second voice only if notes of
one pitch overlap. Each voice has a channel of its own in the track of its program, or else a track of its own. Then no
reader can pair note-ons and note-offs in another way, whatever its rule for double note-ons.

Up to fifteen melodic programs have a channel each. Further voices take the free channels, then the channel of their
program. More than fifteen programs take turns: each keeps its channel as long as it sounds. Two programs share a
channel only while more than fifteen sound at the same time, and then it is the channel that falls silent first.
"""

from __future__ import annotations

import numpy as np

from midi_codec.music.notes import DRUM_PROGRAM

DRUM_CHANNEL = 9
MELODIC_CHANNELS = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15])
_NUM_PROGRAMS = DRUM_PROGRAM + 1


def assign_voices(program: np.ndarray, pitch: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """`[n]` int64: the number of each note's voice. The first voices of all programs come first, by program.

    The columns are in the order of `Notes`; start and end are int64 ticks.
    """
    layer = assign_layers(program, pitch, start, end)
    return np.unique(layer * _NUM_PROGRAMS + program, return_inverse=True)[1]


def assign_layers(program: np.ndarray, pitch: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """`[n]` int64 from 0: the first layer in which no earlier note of that program and pitch still sounds.

    Notes of a program and pitch form clusters, between which nothing sounds. A single note is on layer 0, and two are
    on 0 and 1. Only larger clusters, which are rare in music, need a loop over notes.
    """
    num_notes = len(start)
    order, first = _clusters(program.astype(np.int64) * 128 + pitch, start, end)
    start, end = start[order], end[order]
    sizes = np.diff(first, append=num_notes)
    layer = np.arange(num_notes) - np.repeat(first, sizes)
    for begin, size in zip(first[sizes > 2].tolist(), sizes[sizes > 2].tolist(), strict=True):
        cluster = slice(begin, begin + size)
        layer[cluster] = _first_free_layers(start[cluster].tolist(), end[cluster].tolist())
    back = np.empty(num_notes, np.int64)
    back[order] = layer
    return back


def _clusters(key: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of the notes by key, and where in it each cluster begins. Between two clusters, the key is silent.

    `start` ascends; keys are whole numbers from 0 to 65,535.
    """
    order = np.argsort(key.astype(np.uint16), kind="stable")  # NumPy sorts 16 bits in linear time
    key, start, end = key[order], start[order], end[order]
    offset = key.astype(np.int64) * (int(end.max()) + 1)  # separates the keys in time: one running maximum serves all
    sounding_until = np.maximum.accumulate(end + offset)
    opens = np.ones(len(key), bool)
    opens[1:] = start[1:] + offset[1:] >= sounding_until[:-1]
    return order, np.flatnonzero(opens)


def _first_free_layers(starts: list[int], ends: list[int]) -> list[int]:
    """The layer of each note of a cluster; the notes are in the order of their starts."""
    free_from: list[int] = []  # by layer
    layers = []
    for start, end in zip(starts, ends, strict=True):
        for layer, free in enumerate(free_from):
            if free <= start:
                free_from[layer] = end
                break
        else:
            layer = len(free_from)
            free_from.append(end)
        layers.append(layer)
    return layers


def assign_channels(
    program: np.ndarray, voice: np.ndarray, start: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The channel of each note, `[n]` int64 from 0 (drums are on 9, which players call 10), and program changes.

    A track sets the program of each channel that it uses, and sets it again after another track has changed it. As long
    as a channel has had only one program, its program change is at the beginning of the file.

    Returns:
      channel `[n]`; the indices `[m]` of the notes that need a program change before them, and its ticks `[m]`.
    """
    backwards = np.arange(len(program))[::-1]
    first_note = np.empty(int(voice.max()) + 1, np.int64)
    first_note[voice[backwards]] = backwards  # the last assignment wins: the first note of the voice
    programs = program[first_note]  # of each voice
    is_melodic = programs != DRUM_PROGRAM
    num_programs = len(np.unique(programs[is_melodic]))
    if num_programs > len(MELODIC_CHANNELS):
        channel = np.full(len(program), DRUM_CHANNEL)
        melodic = np.flatnonzero(program != DRUM_PROGRAM)
        own = program[melodic]
        channel[melodic] = MELODIC_CHANNELS[_take_turns(own, start[melodic], end[melodic])]
        changed, ticks = _program_changes(own, voice[melodic], channel[melodic], start[melodic])
        return channel, melodic[changed], ticks
    slot = np.cumsum(is_melodic) - 1
    of_program = np.searchsorted(programs[:num_programs], programs)  # the first voices come first, by program
    slot = np.where(slot < len(MELODIC_CHANNELS), slot, of_program)
    channels = np.where(is_melodic, MELODIC_CHANNELS.take(slot, mode="clip"), DRUM_CHANNEL)
    changed = first_note[is_melodic]
    return channels[voice], changed, np.zeros(len(changed), np.int64)


def assign_tracks(program: np.ndarray, voice: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """The track of each note, `[n]` int64 from 0, from the results of the other functions.

    The first voices of all programs have the first tracks, by program. A further voice shares the track of an earlier
    one of its program if none of its channels is used there.
    """
    voices, first = np.unique(voice, return_index=True)
    used = [set[int]() for _ in voices]
    for number, own in np.unique(np.stack([voice, channel], axis=1), axis=0).tolist():
        used[number].add(own)
    tracks: list[tuple[int, set[int]]] = []  # program, channels
    track_of = np.empty(len(voices), np.int64)
    for number, own_program in enumerate(program[first].tolist()):
        shared = (i for i, (other, taken) in enumerate(tracks) if other == own_program and not taken & used[number])
        track_of[number] = index = next(shared, len(tracks))
        if index == len(tracks):
            tracks.append((own_program, set()))
        tracks[index][1].update(used[number])
    return track_of[voice]


def _take_turns(program: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """`[n]` int64: indices of melodic channels, for notes of more programs than there are channels."""
    order, first = _clusters(program, start, end)
    begins, stops = start[order][first], np.maximum.reduceat(end[order], first)
    of_cluster = program[order][first].tolist()
    free_from, last, slots = [-1] * len(MELODIC_CHANNELS), dict[int, int](), np.empty(len(first), np.int64)
    for cluster in np.argsort(begins, kind="stable").tolist():
        begin, stop, own = int(begins[cluster]), int(stops[cluster]), of_cluster[cluster]
        slot = last.get(own, -1)
        if slot < 0 or free_from[slot] > begin:
            slot = free_from.index(min(free_from))
        free_from[slot] = max(free_from[slot], stop)
        slots[cluster] = last[own] = slot
    back = np.empty(len(program), np.int64)
    back[order] = np.repeat(slots, np.diff(first, append=len(program)))
    return back


def _program_changes(
    program: np.ndarray, voice: np.ndarray, channel: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The program changes of melodic notes, as `assign_channels` returns them."""
    order = np.lexsort([voice, start, channel])  # the order in which a player meets the notes of a channel
    begins = np.diff(channel[order], prepend=-1) != 0
    changes = ~begins & (np.diff(program[order].astype(np.int64), prepend=0) != 0)
    num_changes = np.cumsum(changes)
    is_taken_over = np.empty(len(program), bool)
    is_taken_over[order] = num_changes > np.maximum.accumulate(np.where(begins, num_changes, 0))
    first_of_track = np.unique(voice * 16 + channel, return_index=True)[1]
    notes = np.union1d(order[changes], first_of_track)
    return notes, np.where(is_taken_over[notes], start[notes], 0)
