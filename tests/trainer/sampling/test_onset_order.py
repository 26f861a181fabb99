"""What the note before leaves to draw at its onset, bin by bin."""

import numpy as np
import pytest
import tensorflow as tf

from midi_codec.fields import CATEGORICAL, FieldTable
from tests.trainer.tiny import make_table
from trainer.sampling.constraints import Constraints
from trainer.sampling.onset_order import OnsetOrder

PROGRAMS = make_table(timing_loss=CATEGORICAL, programs=(0, 40, 128))  # of pitches there are three
ONE_PROGRAM = make_table(timing_loss=CATEGORICAL)


def order_after(
    table: FieldTable, pitch: int, program: int = 0, *, is_first=False, duplicates=False, highest=()
) -> OnsetOrder:
    """After one note with these bins."""
    previous = {"step": 1, "pitch": pitch, "duration": 0, "velocity": 0, "program": program}
    keep_to = None
    if highest:
        of = {f"highest_{name}": tf.constant([bin_]) for name, bin_ in zip(("pitch", "program"), highest, strict=True)}
        keep_to = Constraints(table, of, {})
    return OnsetOrder(
        table,
        tf.constant([[previous[name] for name in table.names]]),
        tf.constant([is_first]),
        allow_duplicates=duplicates,
        constraints=keep_to,
    )


def left(order: OnsetOrder, table: FieldTable, name: str, *, step: int = 0, pitch: int = 0) -> list[int]:
    """The bins of a field that may be drawn when the note has this step and the bin of this pitch."""
    bins = [tf.constant([0]), tf.constant([pitch])]
    mask = order.mask(table[name], bins, [tf.constant([step])])
    return np.flatnonzero(np.broadcast_to(mask, (1, table[name].width))[0, : table[name].num_bins] == 0).tolist()


@pytest.mark.parametrize(
    "pitch, program, pitches",
    [(0, 0, [0, 1, 2]), (0, 2, [1, 2]), (1, 1, [1, 2]), (1, 2, [2]), (2, 1, [2])],
)
def test_a_pitch_is_left_while_a_program_above_is(pitch, program, pitches):
    order = order_after(PROGRAMS, pitch, program)
    assert left(order, PROGRAMS, "pitch") == pitches
    assert left(order, PROGRAMS, "pitch", step=1) == [0, 1, 2]
    assert left(order, PROGRAMS, "program", pitch=pitch) == list(range(program + 1, 3))
    assert left(order, PROGRAMS, "program", pitch=2 if pitch < 2 else 1) == [0, 1, 2]
    assert order.least_step.numpy().tolist() == [0]
    assert left(order, PROGRAMS, "step") == [0, 1, 2, 3, 4]
    assert order.mask(PROGRAMS["velocity"], [], []) == 0.0


def test_with_one_program_each_pitch_is_above_the_one_before():
    assert left(order_after(ONE_PROGRAM, 1), ONE_PROGRAM, "pitch") == [2]
    assert order_after(ONE_PROGRAM, 2).least_step.numpy().tolist() == [1]


def test_where_nothing_is_left_above_the_next_note_is_later():
    order = order_after(PROGRAMS, 2, 2)
    assert order.least_step.numpy().tolist() == [1]
    assert left(order, PROGRAMS, "step") == [1, 2, 3, 4]


def test_constraints_say_what_is_the_highest():
    assert order_after(PROGRAMS, 1, 1, highest=(1, 1)).least_step.numpy().tolist() == [1]
    assert order_after(PROGRAMS, 1, 0, highest=(1, 1)).least_step.numpy().tolist() == [0]
    assert left(order_after(PROGRAMS, 1, 2, highest=(2, 1)), PROGRAMS, "pitch") == [2]
    for duplicates in (False, True):  # a primer's note above all that may be drawn
        assert order_after(PROGRAMS, 2, 0, highest=(1, 2), duplicates=duplicates).least_step.numpy().tolist() == [1]


def test_duplicates_of_a_corpus_that_has_them_may_be_drawn():
    order = order_after(PROGRAMS, 2, 2, duplicates=True)
    assert order.least_step.numpy().tolist() == [0]
    assert left(order, PROGRAMS, "pitch") == [2]
    assert left(order, PROGRAMS, "program", pitch=2) == [2]
    lower = order_after(PROGRAMS, 2, 1, duplicates=True)
    assert left(lower, PROGRAMS, "program", pitch=2) == [1, 2]
    assert left(order, PROGRAMS, "step") == [0, 1, 2, 3, 4]


def test_a_first_note_may_be_any():
    order = order_after(PROGRAMS, 2, 2, is_first=True)
    assert order.least_step.numpy().tolist() == [0]
    assert left(order, PROGRAMS, "pitch") == [0, 1, 2] and left(order, PROGRAMS, "program", pitch=2) == [0, 1, 2]
