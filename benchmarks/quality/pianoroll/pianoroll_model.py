"""What a note model says of each decision of a piano roll; see `benchmarks.quality.pianoroll.pianoroll_score`. Imports
TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from benchmarks.quality.pianoroll.pianoroll_data import KEYS, LOWEST_KEY, RollPiece
from benchmarks.quality.pianoroll.pianoroll_score import DECISIONS
from job_runtime.command import UserError
from midi_codec.fields import CATEGORICAL
from trainer.bundle import Bundle
from trainer.data.batches import make_batch
from trainer.data.pieces import Pieces, stack_pieces
from trainer.data.whole_pieces import CHUNK, plan_whole_pieces
from trainer.distribution.strategy import batch_signature, free_shapes
from trainer.model import heads
from trainer.model.heads import MASKED_LOGIT
from trainer.model.note_model import NoteModel

BATCH_SIZE = 16  # sequences at once; more take more memory, and no less time


def decisions_of(bundle: Bundle, rolls: Sequence[RollPiece], *, name: str, shift: int = 0) -> dict[str, np.ndarray]:
    """`[events]` float64 log probabilities by DECISIONS, the events of all sequences one after the other.

    Whole sequences pass through the model once, the state carried from chunk to chunk.

    Args:
      name: of the bundle, in messages.
      shift: semitones by which the model hears the sequences higher; the same decisions, told in another key.

    Raises:
      UserError: the bundle's model does not know such notes.
    """
    table = bundle.fields
    notes = [dataclasses.replace(roll.notes, pitch=(roll.notes.pitch + shift).astype(np.uint8)) for roll in rolls]
    problems = {f"--bundle: {name}: {problem}" for heard in notes for problem in table.problems(heard)}
    problems |= {
        f"--bundle: {name}: the loss of {field} is {table[field].loss}, want {CATEGORICAL}"
        for field in ("step", "pitch")
        if table[field].loss != CATEGORICAL
    }
    if problems:
        raise UserError(sorted(problems))
    model = bundle.build_model()
    pieces = stack_pieces(notes, table)
    found = np.zeros((len(DECISIONS), len(pieces.raw)))
    compiled = None
    for chunks in plan_whole_pieces(pieces.num_events, chunk=CHUNK, batch_size=BATCH_SIZE):
        state = model.zero_state(len(chunks[0]))
        for windows in chunks:
            batch = make_batch(pieces, windows, table=table, batch_size=len(windows), start_bins=model.start_bins)
            arrays = {key: tf.constant(array) for key, array in batch.as_dict().items()}
            compiled = compiled or _compile(model, arrays, state, LOWEST_KEY + shift)
            rows, state = compiled(arrays, state)
            place, inside = _places(pieces, windows)
            found[:, place[inside]] = rows.numpy()[:, :, : place.shape[1]][:, inside]
    return dict(zip(DECISIONS, found, strict=True))


def _places(pieces: Pieces, windows) -> tuple[np.ndarray, np.ndarray]:
    """`[rows, time]`, where in the split each event of a chunk stands, and whether there is one."""
    offset = np.arange(int(windows.length.max()))
    place = (pieces.first_event[windows.piece] + windows.begin)[:, None] + offset
    return place, offset < windows.length[:, None]


def _compile(model: NoteModel, batch, state, lowest_key: int):
    """The compiled step, for any number of rows and events: `[decisions, rows, time]`, and the state after."""
    signature = [batch_signature(batch), tf.nest.map_structure(lambda value: free_shapes(value, 1), state)]

    @tf.function(input_signature=signature)
    def step(batch, state):
        rows = tf.shape(batch["bins"])[0]
        state = tf.nest.map_structure(lambda value: value[:rows], state)
        outputs, state = model(batch["previous"], batch["bins"], state, raw=batch["raw"], is_note=batch["is_note"])
        return tf.stack(_log_chances(model, outputs, batch, lowest_key)), state

    return step


def _log_chances(model: NoteModel, outputs: heads.HeadOutputs, batch, lowest_key: int) -> list[tf.Tensor]:
    """`[rows, time]` float64 each, in the order of DECISIONS; 0 where there is nothing to decide."""
    is_note = tf.cast(batch["is_note"], tf.float64)
    end = heads.end_cost(tf.cast(outputs.end_logit, tf.float64), batch)
    costs = {}
    for name in ("step", "pitch"):
        index = model.table.names.index(name)
        bins, raw = batch["bins"][..., index], batch["raw"][..., index]
        costs[name] = heads.value_nll(model.table[name], outputs.fields[name], bins, raw, None)
    place = model.table.names.index("pitch")
    last, pitch = batch["previous"][..., place], batch["bins"][..., place]
    is_first = last == model.table["pitch"].num_bins
    in_frame = (batch["raw"][..., model.table.names.index("step")] == 0) & ~is_first
    lowest = tf.where(in_frame, tf.maximum(last + 1, lowest_key), lowest_key)[..., None]
    logits = tf.cast(outputs.fields["pitch"], tf.float64)
    key = tf.range(tf.shape(logits)[-1])
    possible = tf.where((key >= lowest) & (key < lowest_key + KEYS), logits, MASKED_LOGIT)
    costs["step_in_order"] = tf.where(is_first, tf.zeros_like(costs["step"]), costs["step"])
    costs["pitch_in_order"] = tf.nn.sparse_softmax_cross_entropy_with_logits(pitch, possible)
    return [-end, *(-costs[name] * is_note for name in DECISIONS[1:])]
