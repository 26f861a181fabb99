"""How long the rest of a task takes, known soon after it starts.

Before many pieces are over, their number says little: a slot's first piece takes as long as its notes, and then pieces
end one after another. But every step draws a note in every slot. The notes per piece are estimated from all notes drawn
so far, those of unfinished pieces included, for each piece that is over; they are never more than the limit.
"""

from __future__ import annotations


def seconds_left(
    *, num_steps: float, num_slots: int, seconds: float, num_over: int, num_left: int, limit: float
) -> float | None:
    """Seconds until the rest is made; None before the first step.

    Args:
      num_steps: events drawn in every slot, in `seconds`.
      num_over: pieces that are over, rejected ones included.
      num_left: pieces that are not, with those that no slot has yet.
      limit: most notes per piece.
    """
    if not num_steps:
        return None
    drawn = num_steps * min(num_slots, num_over + num_left)
    per_piece = min(drawn / num_over, limit) if num_over else limit
    notes_left = max(per_piece * (num_over + num_left) - drawn, num_left)
    return notes_left / min(num_slots, max(num_left, 1)) * seconds / num_steps
