import numpy as np
import pytest

from midi_codec.dataset import varints
from midi_codec.music.piece_offsets import offsets_of

KNOWN = {0: "00", 1: "01", 127: "7f", 128: "8001", 300: "ac02", 16383: "ff7f", 16384: "808001", 2**31 - 1: "ffffffff07"}


@pytest.mark.parametrize(("value", "want"), KNOWN.items())
def test_known_bytes(value, want):
    assert varints.encode(np.array([value])).hex() == want
    assert varints.encode_one(value).hex() == want
    assert varints.decode(bytes.fromhex(want)).tolist() == [value]
    assert varints.decode_one(b"\x80" + bytes.fromhex(want), 1) == (value, 1 + len(want) // 2)


@pytest.mark.parametrize("high", [2, 128, 300, 2**14, 2**14 + 1, 2**21, 2**31])
def test_columns_come_back(high):
    rng = np.random.default_rng(high)
    values = (high ** rng.random(500)).astype(np.int64) - 1  # small and large ones mixed
    values[rng.integers(0, 500)] = high - 1
    packed = varints.encode(values)
    assert packed == b"".join(varints.encode_one(value) for value in values.tolist())
    assert varints.decode(packed).tolist() == values.tolist()
    assert varints.encode(values.astype(np.uint32)) == packed


def test_pieces_of_all_widths_side_by_side():
    pieces = [[], [5, 127], [0], [128, 3], [], [2**31 - 1, 1, 300], [16383], [16384, 0], [2**20], [7]]
    values = np.array([value for piece in pieces for value in piece])
    encoded = varints.encode_pieces(values, offsets_of([len(piece) for piece in pieces]))
    assert encoded == [b"".join(map(varints.encode_one, piece)) for piece in pieces]
    assert varints.encode_pieces(values[:0], offsets_of([])) == []
    with pytest.raises(ValueError, match=r"values\[1\] is -3, want 0 or more"):
        varints.encode_pieces(np.array([7, -3, 200]), offsets_of([1, 2]))


def test_nothing_is_nothing():
    assert varints.encode(np.zeros(0, np.int32)) == b""
    assert varints.decode(b"").tolist() == []


def test_largest_that_fits():
    assert varints.decode(varints.encode(np.array([2**63 - 1, 5]))).tolist() == [2**63 - 1, 5]


def test_a_negative_value_is_refused():
    with pytest.raises(ValueError, match=r"values\[1\] is -3, want 0 or more"):
        varints.encode(np.array([7, -3, 200]))


@pytest.mark.parametrize("damaged", ["80", "0580", "05ffff"])
def test_data_that_end_inside_a_number(damaged):
    with pytest.raises(ValueError, match=f"end inside a number, at byte {len(damaged) // 2}"):
        varints.decode(bytes.fromhex(damaged))
    with pytest.raises(ValueError, match="end inside a number"):
        varints.decode_one(bytes.fromhex(damaged), len(damaged) // 2 - 1)


def test_a_number_that_is_too_long():
    damaged = bytes.fromhex("05 ff ff ff ff ff ff ff ff ff 01")  # ten bytes, as a negative number has
    with pytest.raises(ValueError, match="number 1 is longer than 9 bytes"):
        varints.decode(damaged)
    with pytest.raises(ValueError, match="a number at byte 1 is longer than 9 bytes"):
        varints.decode_one(damaged, 1)
