"""The cleaning policies that change the notes of pieces: drums, other programs, merged programs.

They apply to a corpus, and to primers as they did to the corpus of the model that continues them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec.cleaning.cleaning_rules import DROP, FAMILY, KEEP, ONLY, CleaningRules
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import COLUMN_DTYPES, DRUM_PROGRAM
from midi_codec.music.piece_offsets import offsets_of

FAMILY_SIZE = 8  # General MIDI has sixteen families of eight programs


def apply(batch: NoteBatch, rules: CleaningRules) -> NoteBatch:
    """The notes of all pieces that the policies keep; a piece that loses all its notes stays, without notes.

    The sustain pedal is up to the reader of MIDI files, and rejecting pieces is up to the caller.
    """
    wanted = np.ones(len(batch.pitch), bool)
    is_drum = batch.program == DRUM_PROGRAM
    if rules.drum_policy == DROP:
        wanted &= ~is_drum
    elif rules.drum_policy == ONLY:
        wanted &= is_drum
    if rules.programs is not None and rules.other_programs == DROP:
        wanted &= is_drum | is_listed(batch.program, rules)
    if not wanted.all():
        columns = {name: getattr(batch, name)[wanted] for name in COLUMN_DTYPES}
        batch = dataclasses.replace(batch, **columns, offsets=offsets_of(wanted)[batch.offsets])
    if rules.program_policy == KEEP:
        return batch
    family = batch.program // FAMILY_SIZE * FAMILY_SIZE
    melodic = family if rules.program_policy == FAMILY else np.zeros_like(batch.program)
    return with_programs(batch, np.where(batch.program == DRUM_PROGRAM, np.uint8(DRUM_PROGRAM), melodic))


def with_programs(batch: NoteBatch, program: np.ndarray) -> NoteBatch:
    """The notes with other programs, `[total]` uint8.

    Of notes that then share onset, pitch and program, one stays, as long as the longest and as loud as the loudest.
    """
    if not len(batch.pitch):
        return batch
    # The new programs change the order only among notes of one onset and pitch.
    is_new = np.ones(len(program), bool)
    is_new[1:] = (batch.start[1:] != batch.start[:-1]) | (batch.pitch[1:] != batch.pitch[:-1])
    is_new[batch.offsets[:-1][batch.lengths > 0]] = True
    key = np.cumsum(is_new) << 8 | program
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    kept = order[first]
    return dataclasses.replace(
        batch,
        start=batch.start[kept],
        pitch=batch.pitch[kept],
        program=program[kept],
        duration=np.maximum.reduceat(batch.duration[order], first),
        velocity=np.maximum.reduceat(batch.velocity[order], first),
        offsets=np.searchsorted(first, batch.offsets),
    )


def is_listed(program: np.ndarray, rules: CleaningRules) -> np.ndarray:
    listed = np.zeros(DRUM_PROGRAM + 1, bool)
    listed[list(rules.programs or ())] = True
    return listed[program]
