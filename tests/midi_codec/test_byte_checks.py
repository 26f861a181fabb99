import numpy as np
import pytest

from midi_codec import byte_checks

LIMIT = 2**31


def looks(*texts: str, limit: int = LIMIT) -> list[tuple[bool, bool]]:
    seen = [byte_checks.look_at(b"MThd" + bytes.fromhex(text), limit) for text in texts]
    return [(look.has_odd_tempo, look.may_be_late) for look in seen]


@pytest.mark.parametrize(
    "text, is_odd",
    [
        ("ff 51 03 01 02 03 00", False),
        ("ff 51 02 01 02 00", True),
        ("ff 51 04", True),
        ("ff 51 03", False),
        ("ff 51", False),  # cut off: none
        ("ff", False),
        ("ff ff 51 02", True),
        ("ff 2f 00 51 02", False),
    ],
)
def test_odd_tempos_are_found(text, is_odd):
    assert looks(text) == [(is_odd, False)]


@pytest.mark.parametrize("text", ["81 00", "ff 7f", "81 80 00", "ff ff 7f", "81 80 80 00", "ff ff ff 7f" * 7])
def test_the_bound_is_at_least_the_sum(text):
    data = bytes.fromhex(text)
    total, value = 0, 0
    for byte in data:  # all of it as deltas
        value = value << 7 | byte & 0x7F
        total, value = (total, value) if byte > 0x7F else (total + value, 0)
    assert looks(text, limit=total) == [(False, True)]
    assert byte_checks.sum_of_deltas(data, num_tempos=0) >= total
    assert looks(text, limit=2**40) == [(False, False)]


def test_files_that_are_late_stand_out():
    late = "ff ff ff 7f" * 8
    assert [late for _, late in looks("00" * 50, late, "ff 7f 00", limit=8 << 28)] == [False, True, False]


def test_tempos_are_taken_out_of_the_sum_when_all_are_real():
    data = bytes.fromhex("00 ff 51 03 ff ff 7f 00")
    counted = byte_checks.sum_of_deltas(data, num_tempos=0)
    assert byte_checks.sum_of_deltas(data, num_tempos=1) < 2**20 < counted


def test_the_sum_is_no_less_than_that_of_any_reading():
    generator = np.random.default_rng(0)
    for _ in range(200):
        deltas = generator.integers(0, 2**28, 20) >> generator.integers(0, 28, 20)
        text = b"".join(_quantity(int(delta)) for delta in deltas)
        assert byte_checks.sum_of_deltas(text, num_tempos=0) >= deltas.sum()


def _quantity(value: int) -> bytes:
    septets = [value & 0x7F]
    while value := value >> 7:
        septets.append(value & 0x7F | 0x80)
    return bytes(reversed(septets))
