import numpy as np
import pytest

from midi_codec.midi.fast_reader import byte_checks

LIMIT = 2**31


def looks(*texts: str, limit: int = LIMIT) -> list[tuple[bool, bool]]:
    seen = byte_checks.look_at([b"MThd" + bytes.fromhex(text) for text in texts], limit)
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


@pytest.mark.parametrize(
    "text, suspects",
    [
        ("00 f0 05 7e 7f 09 01 f7 00 90 3c 40", []),  # the last byte ends the message
        ("00 f0 05 7e 7f 09 01 f7 00 3c 40", [5]),  # data after it
        ("00 f0 04 7e 7f 09 f7 01 f7 00 90", [12]),  # the first F7 ends it
        ("00 f7 01 00 00 90 3c 40", [5]),
        ("00 fe 00 3c 40", [5]),
        ("00 f2 00 00 83 00 3c 40", [5]),
        ("00 fe 00 ff 01 02 61 62 00 ff 05 00 10 3c 40", [5]),  # data after meta events
        ("00 fe 00 ff 01 02 61 62 00 ff 05 00 10 90 40", []),
        ("00 ff 51 03 f7 f0 f7 00 3c 40", []),  # a tempo
        ("00 ff 59 02 fe 00 00 3c 40", []),  # a key signature
        ("81 f0 00 90 3c 40", []),  # inside a delta
        ("00 f4 00 3c 40", []),  # undefined: refused
    ],
)
def test_messages_that_symusic_might_misread(text, suspects):
    [look] = byte_checks.look_at([b"MThd" + bytes.fromhex(text)], LIMIT)
    assert look.suspects.tolist() == suspects
    _, second = byte_checks.look_at([b"MThd" + bytes(9), b"MThd" + bytes.fromhex(text)], LIMIT)
    assert second.suspects.tolist() == suspects


@pytest.mark.parametrize(
    "text, moves, running",
    [
        ("00 ba 00 78 00 ca 00", True, []),
        ("00 b9 00 78 00 c9 00", False, []),
        ("00 b9 00 79 00 c9 00", True, []),
        ("00 b0 07 64 00 00 78", False, [9]),  # the status runs on
        ("00 b0 07 64 81 10 00 78", False, [10]),  # a delta before
        ("00 b0 07 64 81 10 00 7f", False, []),
        ("00 90 3c 00 78 90", False, []),  # the velocity of an end, and a delta
        ("f0 08 43 10 4c 00 00 7e 00 f7 00 b2 00 7f", True, []),
        ("00 b2 00 7f 00 c2 00", False, []),
    ],
)
def test_banks_that_may_move_the_drums(text, moves, running):
    [look] = byte_checks.look_at([b"MThd" + bytes.fromhex(text)], LIMIT)
    assert (look.may_move_drums, look.running_banks.tolist()) == (moves, running)


def test_program_changes_are_counted():
    [look] = byte_checks.look_at([b"MThd" + bytes.fromhex("00 c0 00 00 c1 05 00 90 3c 40")], LIMIT)
    assert (look.num_programs, look.may_set_programs) == (2, True)
    [look] = byte_checks.look_at([b"MThd" + bytes.fromhex("00 c0 00 00 90 3c 40")], LIMIT)
    assert (look.num_programs, look.may_set_programs) == (1, False)
    [look] = byte_checks.look_at([b"MThd" + bytes.fromhex("00 c0 00 00 05 00 90 3c 40")], LIMIT)
    assert look.may_set_programs  # the running status goes on
