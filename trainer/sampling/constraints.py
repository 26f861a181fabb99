"""Constraints on the notes drawn in each row: what is added to logits, and the limits of times.

Whatever is not allowed is masked before anything is drawn, so no note breaks a constraint. A bin of which only some
ticks are allowed keeps their share of its probability. Something is always left to draw, by induction: a step may
always be as long as `step_limits` say, and no note that fills the polyphony may sound longer than that.

The state of each row, all of fixed size:
  sounding  `[rows, MAX_POLYPHONY]` int32, ticks for which the longest notes will still sound, longest first
  recent    `[rows, RECENT]` int32, pitch bins of the last notes; -1: none
  lead      `[rows]` float32, how many notes fewer than `notes_per_second` asks for have been drawn so far
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from midi_codec import fields
from trainer.model.heads import MASKED_LOGIT

RECENT = 16  # notes that the repetition penalty looks back on
STEERING = 0.5  # nats per note of lead and per mean distance of the step
MAX_LEAD = 8.0  # notes
MAX_STEERED_STEP = 4.0  # mean distances: longer steps are held back no more than this one

State = dict[str, tf.Tensor]


def nothing_drawn(rows: int, max_polyphony: int) -> State:
    """The state of pieces that have not begun."""
    return {
        "sounding": tf.zeros([rows, max_polyphony], tf.int32),
        "recent": tf.fill([rows, RECENT], -1),
        "lead": tf.zeros([rows]),
    }


class Constraints:
    """What the next note of every row must comply with.

    Args:
      table: the fields.
      columns: by name, a row per piece, as `generation_jobs.settings.controls.columns` makes them.
      state: of the notes before.
    """

    def __init__(self, table: fields.FieldTable, columns: Mapping[str, tf.Tensor], state: State):
        self._table, self._columns, self._state = table, columns, state

    @property
    def highest(self) -> dict[str, tf.Tensor]:
        """`[rows]` int32, the last bin that may be drawn, of pitch and, if the table has it, of program."""
        names = (name for name in ("pitch", "program") if name in self._table.names)
        return {name: self._columns[f"highest_{name}"] for name in names}

    def limits(self, field: fields.FieldSpec, values: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor] | None:
        """First and last tick `[rows]` that may be drawn; None unless the field is a categorical time."""
        if field.kind != fields.TIME or field.loss != fields.CATEGORICAL:
            return None
        low, high = tf.unstack(self._columns[f"{field.name}_limits"], axis=1)
        most = self._columns["max_polyphony"]
        sounding = self._state["sounding"]
        if field.name == "step":
            until_free = tf.gather(sounding, tf.maximum(most - 1, 0), axis=1, batch_dims=1)
            return tf.maximum(low, tf.where(most > 0, until_free, 0)), high
        reach = self._columns["step_limits"][:, 1]
        others = tf.gather(sounding, tf.maximum(most - 2, 0), axis=1, batch_dims=1)
        others -= values[self._table.names.index("step")]
        fills = (most == 1) | (most > 1) & (others > reach)
        return low, tf.where(fills, tf.minimum(high, reach), high)

    def offsets(self, field: fields.FieldSpec, limits: tuple[tf.Tensor, tf.Tensor] | None) -> tf.Tensor | float:
        """`[rows, width]` float32 to add to a categorical field's logits."""
        if field.name == "pitch":
            same = self._state["recent"][:, :, None] == tf.range(field.width)
            return self._columns["pitch_mask"] - self._columns["log_penalty"][:, None] * tf.reduce_sum(
                tf.cast(same, tf.float32), axis=1
            )
        if field.name == "program":
            return self._columns["program_mask"]
        if limits is None:
            return 0.0
        first, last, span = allowed_ticks(field, limits)
        share = tf.cast(last - first + 1, tf.float32) / span
        allowed = tf.where(share > 0, tf.math.log(tf.maximum(share, 1e-30)), MASKED_LOGIT)
        return allowed + self._steering(field) if field.name == "step" else allowed

    def _steering(self, field: fields.FieldSpec) -> tf.Tensor:
        centres = [float(low) + (float(span) - 1) / 2 for low, span in zip(field.lows, field.spans, strict=True)]
        centres += [0.0] * (field.width - field.num_bins)
        distances = tf.minimum(tf.constant(centres) * self._columns["notes_per_tick"][:, None], MAX_STEERED_STEP)
        return -STEERING * self._state["lead"][:, None] * distances

    def after(self, values: tf.Tensor, bins: tf.Tensor, is_given: tf.Tensor, is_first: tf.Tensor) -> State:
        """The state after the note.

        Args:
          values, bins: `[rows, num_fields]` int32.
          is_given: `[rows]` bool, whether the note is of a primer.
          is_first: `[rows]` bool, whether it is the first of its piece.
        """
        names = self._table.names
        step, duration = values[:, names.index("step")], values[:, names.index("duration")]
        left = tf.maximum(self._state["sounding"] - step[:, None], 0)
        longer = tf.concat([tf.fill([tf.shape(left)[0], 1], fields.MAX_TICK), left[:, :-1]], axis=1)
        per_tick = self._columns["notes_per_tick"]
        lead = self._state["lead"] + tf.cast(step, tf.float32) * per_tick - 1.0
        is_steered = (per_tick > 0) & ~is_given & ~is_first
        return {
            "sounding": tf.maximum(left, tf.minimum(longer, tf.maximum(duration, 1)[:, None])),
            "recent": tf.concat([self._state["recent"][:, 1:], bins[:, names.index("pitch")][:, None]], axis=1),
            "lead": tf.where(is_steered, tf.clip_by_value(lead, -MAX_LEAD, MAX_LEAD), self._state["lead"]),
        }


def allowed_ticks(
    field: fields.FieldSpec, limits: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The first and last allowed tick of each bin, `[rows, width]` int32, and the bins' spans, `[width]` float32.

    A bin whose last tick is before its first has no allowed tick.
    """
    ends = [min(int(end) - 1, fields.MAX_TICK) for end in field.edges[1:]]
    padding = field.width - field.num_bins
    lows = tf.constant([min(int(low), fields.MAX_TICK) for low in field.lows] + [fields.MAX_TICK] * padding, tf.int32)
    highs = tf.constant(ends + [0] * padding, tf.int32)
    low, high = limits
    first, last = tf.maximum(lows, low[:, None]), tf.minimum(highs, high[:, None])
    last = tf.maximum(last, first - 1)  # so that counting them does not overflow
    spans = [*field.spans.tolist(), *[1] * padding]
    return first, last, tf.constant(spans, tf.float32)
