import numpy as np
import pytest

from midi_codec.music import note_order
from midi_codec.music.piece_offsets import offsets_of

DTYPES = (np.int32, np.uint8, np.uint8, np.int32, np.uint8)
LAST_PACKED = {"start": 2**22 - 1, "duration": 2**20 - 1}
BEYOND = [{"start": 2**22}, {"duration": 2**20}, {"start": 2**31 - 1, "duration": 2**31 - 1}]


def random_rows(key: int, num_notes: int, *, start: int = 4, duration: int = 3) -> list[tuple[int, ...]]:
    """(start, pitch, program, duration, velocity), many alike; the largest start and duration occur."""
    generator = np.random.default_rng([key, num_notes])
    highest = (start, 127, 128, duration, 127)
    columns = [generator.choice([0, 1, high - 1, high], num_notes) for high in highest]
    return [*zip(*(column.tolist() for column in columns), strict=True), (start, 0, 0, duration, 1)]


def in_order(pieces: list[list[tuple[int, ...]]]) -> list[tuple[int, ...]]:
    table = np.array([row for piece in pieces for row in piece], np.int64).reshape(-1, 5)
    columns = [column.astype(dtype) for column, dtype in zip(table.T, DTYPES, strict=True)]
    ordered = note_order.sort_pieces(columns, offsets_of([len(piece) for piece in pieces]))
    assert tuple(column.dtype for column in ordered) == DTYPES
    return list(zip(*(column.tolist() for column in ordered), strict=True))


@pytest.mark.parametrize("limits", [{}, LAST_PACKED, *BEYOND])
def test_each_piece_is_in_the_total_order(limits):
    pieces = [random_rows(1, 50), random_rows(2, 300, **limits), [], random_rows(3, 0), random_rows(4, 20)]
    assert in_order(pieces) == [row for piece in pieces for row in sorted(piece)]


def test_long_pieces_take_another_way_to_the_same_order(monkeypatch):
    pieces = [random_rows(key, 200) for key in range(3)]
    packed = in_order(pieces)
    monkeypatch.setattr(note_order, "MAX_PACKED_START", -1)
    assert in_order(pieces) == packed


def test_no_notes():
    assert in_order([]) == []
    assert in_order([[], []]) == []
