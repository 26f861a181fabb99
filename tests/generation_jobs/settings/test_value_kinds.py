import pytest

from generation_jobs.settings.value_kinds import TIME, parse_time, pitch_classes


@pytest.mark.parametrize(
    ("key", "want"),
    [
        ("C major", {0, 2, 4, 5, 7, 9, 11}),
        ("A minor", {0, 2, 4, 5, 7, 9, 11}),
        ("Bb major", {10, 0, 2, 3, 5, 7, 9}),
        ("F# minor", {6, 8, 9, 11, 1, 2, 4}),
        ([0, 7], {0, 7}),
    ],
)
def test_keys(key, want):
    assert pitch_classes(key) == want


def test_times():
    assert parse_time("1/4 beats") == (0.25, True) and parse_time("0.5s") == (0.5, False)
    texts = ("1 second", "2 beat", "1", 1, "1/0 s", "-1 s", "1e3 s", "90000 s")
    assert [TIME.is_valid(text) for text in texts] == [True, True, False, False, False, False, False, False]
