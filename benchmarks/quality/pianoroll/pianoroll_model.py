"""A note model's probabilities of each decision of a piano roll; see `benchmarks.quality.pianoroll.pianoroll_score`.

Imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from benchmarks.quality.pianoroll.pianoroll_data import KEYS, LOWEST_KEY, RollPiece
from benchmarks.quality.pianoroll.pianoroll_score import DECISIONS
from job_runtime.problem_report import UserError
from midi_codec.fields import CATEGORICAL
from trainer.bundle import Bundle
from trainer.data.batches import Windows, make_batch
from trainer.data.pieces import Pieces, stack_pieces
from trainer.data.whole_pieces import CHUNK, plan_whole_pieces
from trainer.distribution.strategy import batch_signature, free_shapes
from trainer.model import heads
from trainer.model.heads import MASKED_LOGIT
from trainer.model.note_model import NoteModel

BATCH_SIZE = 16  # sequences; more take more memory and no less time


def decisions_of(bundle: Bundle, rolls: Sequence[RollPiece], *, name: str, shift: int = 0) -> dict[str, np.ndarray]:
    """`[events]` float64 log probabilities by DECISIONS, with the events of all sequences concatenated.

    Whole sequences pass through the model once, with the state carried from chunk to chunk.

    Args:
      name: the bundle's name in messages.
      shift: semitones by which the model's input is transposed; the decisions are the same.

    Raises:
      UserError: the bundle's model does not know such notes.
    """
    table = bundle.fields
    notes = [dataclasses.replace(roll.notes, pitch=(roll.notes.pitch + shift).astype(np.uint8)) for roll in rolls]
    problems = {f"--bundle: {name}: {problem}" for sequence in notes for problem in table.problems(sequence)}
    problems |= {
        f"--bundle: {name}: the loss of {field} is {table[field].loss}, want {CATEGORICAL}"
        for field in ("step", "pitch")
        if table[field].loss != CATEGORICAL
    }
    if problems:
        raise UserError(sorted(problems))
    model = bundle.build_model()
    pieces = stack_pieces(notes, table)
    log_probabilities = np.zeros((len(DECISIONS), pieces.total_events))
    compiled = None
    for chunks in plan_whole_pieces(pieces.num_events, chunk=CHUNK, batch_size=BATCH_SIZE):
        state = model.zero_state(len(chunks[0]))
        for windows in chunks:
            batch = make_batch(pieces, windows, table=table, batch_size=len(windows), start_bins=model.start_bins)
            arrays = {key: tf.constant(array) for key, array in batch.as_dict().items()}
            compiled = compiled or _compile(model, arrays, state, LOWEST_KEY + shift)
            rows, state = compiled(arrays, state)
            event, inside = _event_indices(pieces, windows)
            log_probabilities[:, event[inside]] = rows.numpy()[:, :, : event.shape[1]][:, inside]
    return dict(zip(DECISIONS, log_probabilities, strict=True))


def _event_indices(pieces: Pieces, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """`[rows, time]`: the index of each event of a chunk in the split, and whether there is one."""
    offset = np.arange(int(windows.length.max()))
    event = (pieces.first_event[windows.piece] + windows.begin)[:, None] + offset
    return event, offset < windows.length[:, None]


def _compile(model: NoteModel, batch, state, lowest_key: int):
    """The compiled step, for any number of rows and events; it returns `[decisions, rows, time]` and the new state."""
    signature = [batch_signature(batch), tf.nest.map_structure(lambda value: free_shapes(value, 1), state)]

    @tf.function(input_signature=signature, autograph=False)
    def step(batch, state):
        rows = tf.shape(batch["bins"])[0]
        state = tf.nest.map_structure(lambda value: value[:rows], state)
        outputs, state = model(batch["previous"], batch["bins"], state, raw=batch["raw"], is_note=batch["is_note"])
        return tf.stack(_log_probabilities(model, outputs, batch, lowest_key)), state

    return step


def _log_probabilities(model: NoteModel, outputs: heads.HeadOutputs, batch, lowest_key: int) -> list[tf.Tensor]:
    """`[rows, time]` float64 each, in the order of DECISIONS; 0 if there is nothing to decide."""
    is_note = tf.cast(batch["is_note"], tf.float64)
    end = heads.end_cost(tf.cast(outputs.end_logit, tf.float64), batch)
    costs = {}
    for name in ("step", "pitch"):
        index = model.table.names.index(name)
        bins, raw = batch["bins"][..., index], batch["raw"][..., index]
        costs[name] = heads.value_nll(model.table[name], outputs.fields[name], bins, raw, None)
    pitch_index = model.table.names.index("pitch")
    last, pitch = batch["previous"][..., pitch_index], batch["bins"][..., pitch_index]
    is_first = last == model.table["pitch"].num_bins
    in_frame = (batch["raw"][..., model.table.names.index("step")] == 0) & ~is_first
    lowest = tf.where(in_frame, tf.maximum(last + 1, lowest_key), lowest_key)[..., None]
    logits = tf.cast(outputs.fields["pitch"], tf.float64)
    key = tf.range(tf.shape(logits)[-1])
    possible = tf.where((key >= lowest) & (key < lowest_key + KEYS), logits, MASKED_LOGIT)
    costs["step_in_order"] = tf.where(is_first, tf.zeros_like(costs["step"]), costs["step"])
    costs["pitch_in_order"] = tf.nn.sparse_softmax_cross_entropy_with_logits(pitch, possible)
    return [-end, *(-costs[name] * is_note for name in DECISIONS[1:])]
