import pytest

from generation_jobs.job.time_left import seconds_left


def left(num_steps: int, num_over: int, num_left: int, *, num_slots: int = 64, limit: float = 300) -> float | None:
    """With steps of 10 milliseconds."""
    return seconds_left(
        num_steps=num_steps,
        num_slots=num_slots,
        seconds=num_steps / 100,
        num_over=num_over,
        num_left=num_left,
        limit=limit,
    )


def test_nothing_is_known_before_the_first_step():
    assert left(0, 0, 1000) is None


def test_the_first_pieces_are_not_extrapolated():
    """640 pieces of 150 notes with 64 slots take 1,500 steps. After 32 steps one short piece is over; 639 times its
    time would be 204 seconds."""
    assert left(32, 1, 639) == pytest.approx((640 * 300 - 32 * 64) / 64 / 100)  # at their limit: 29.7
    assert left(160, 64, 576) == pytest.approx((640 * 160 - 160 * 64) / 64 / 100)  # 14.4: 160 notes per piece
    assert left(1500, 639, 1) == pytest.approx(1.502, abs=0.001)  # as many notes as the mean so far


def test_the_last_pieces_decode_at_once():
    assert left(32, 0, 10) == pytest.approx((3000 - 320) / 10 / 100)
    assert left(1500, 630, 10) == pytest.approx(1.524, abs=0.001)  # at most as many notes as the mean so far


def test_a_piece_takes_a_step_at_least():
    assert left(10_000, 64, 64, limit=5) == pytest.approx(0.01)
