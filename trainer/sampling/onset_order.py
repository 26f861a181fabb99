"""What may follow a note at the same onset: notes of one onset ascend by pitch, then by program, as in every dataset.

Otherwise a note drawn below the one before it, at the same onset, would later be sorted before it, and so even before a
primer's last note. If the corpus has no duplicates (notes that share onset, pitch and program), none is drawn: each
note is strictly above the one before it. Program is drawn after pitch, so a pitch may be drawn again while a higher
program is left; if there is no higher pitch or program, the next note is later.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from midi_codec import fields
from trainer.model.heads import MASKED_LOGIT
from trainer.sampling.constraints import Constraints


class OnsetOrder:
    """What the note before allows in each row.

    Args:
      table: the fields.
      previous: `[rows, num_fields]` int32, bins of the note before.
      is_first: `[rows]` bool, whether there is no note before.
      allow_duplicates: whether a note may repeat the onset, pitch and program of another.
      constraints: which pitches and programs may be drawn.
    """

    def __init__(
        self,
        table: fields.FieldTable,
        previous: tf.Tensor,
        is_first: tf.Tensor,
        *,
        allow_duplicates: bool,
        constraints: Constraints | None = None,
    ):
        self._is_first, self._is_strict = is_first, not allow_duplicates
        self._names, self._has_program = table.names, "program" in table.names
        self._pitch = previous[:, self._names.index("pitch")]
        highest = {field.name: field.num_bins - 1 for field in table}
        if constraints is not None:
            highest |= constraints.highest
        self._has_no_higher_program = tf.ones_like(is_first)
        if self._has_program:
            self._program = previous[:, self._names.index("program")]
            self._has_no_higher_program = self._program >= highest["program"]
        nothing_above = self._pitch > highest["pitch"]
        if self._is_strict:
            nothing_above |= (self._pitch == highest["pitch"]) & self._has_no_higher_program
        self.least_step = tf.cast(nothing_above & ~is_first, tf.int32)  # [rows]

    def mask(
        self, field: fields.FieldSpec, bins: Sequence[tf.Tensor], values: Sequence[tf.Tensor]
    ) -> tf.Tensor | float:
        """`[rows, width]` float32 to add to a categorical field's logits.

        Args:
          bins, values: of the fields before it.
        """
        if field.name == "step":
            return self._step_mask(field)
        if field.name not in ("pitch", "program"):
            return 0.0
        same_onset = ~self._is_first & (values[self._names.index("step")] == 0)
        if field.name == "pitch":
            lowest = self._pitch + tf.cast(self._has_no_higher_program, tf.int32) if self._is_strict else self._pitch
            return _below(field, tf.where(same_onset, lowest, 0))
        same_pitch = same_onset & (bins[self._names.index("pitch")] == self._pitch)
        return _below(field, tf.where(same_pitch, self._program + int(self._is_strict), 0))

    def _step_mask(self, field: fields.FieldSpec) -> tf.Tensor | float:
        """Masks the bin of tick 0 if it holds no other tick; `least_step` takes care of a wider bin."""
        if not self._is_strict or field.largest < field.edges[1]:
            return 0.0
        return _below(field, self.least_step)


def _below(field: fields.FieldSpec, lowest: tf.Tensor) -> tf.Tensor:
    """Masks the bins below `lowest`, `[rows]` int32."""
    return tf.where(tf.range(field.width) < lowest[:, None], MASKED_LOGIT, 0.0)
