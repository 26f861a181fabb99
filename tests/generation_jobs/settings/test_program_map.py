import numpy as np
import pytest

from generation_jobs.settings import program_map
from generation_jobs.settings.program_map import nearest


def columns(*rows: tuple[int, int, int, int, int]) -> dict[str, np.ndarray]:
    names = ("start", "pitch", "program", "duration", "velocity")
    return dict(zip(names, np.array(rows).T, strict=True))


def mapped(text: str, known: tuple[int, ...], *rows: tuple[int, int, int, int, int]) -> list[tuple[int, ...]]:
    found = program_map.apply(columns(*rows), program_map.parse(text).lookup(known))
    return list(zip(*(found[name].tolist() for name in columns(*rows)), strict=True))


@pytest.mark.parametrize(
    ("program", "known", "want"),
    [
        (1, (0, 7, 40), 0),
        (4, (0, 7, 40), 7),
        (33, (24, 40), 40),  # as far in families; the nearer number
        (47, (24, 40, 48), 40),  # its own family
        (73, (0, 128), 0),
        (128, (0, 40), None),
        (0, (128,), None),
    ],
)
def test_the_nearest_program(program, known, want):
    assert nearest(program, known) == want


def test_named_programs_and_the_nearest_for_the_others():
    rows = [(0, 60, 0, 5, 80), (1, 60, 41, 5, 80), (2, 60, 40, 5, 80), (3, 36, 128, 5, 80)]
    assert [row[2] for row in mapped("0:110", (40, 110), *rows)] == [110, 41, 40, 128]
    assert [row[2] for row in mapped("0:110,nearest", (40, 110), *rows)] == [110, 40, 40, 128]
    assert [row[2] for row in mapped("nearest, 40:110", (40, 110), *rows)] == [40, 40, 110, 128]
    assert [row[:3] for row in mapped("128:drop", (0, 40, 41), *rows)] == [(0, 60, 0), (1, 60, 41), (2, 60, 40)]


def test_notes_that_become_the_same_are_one():
    rows = [(0, 60, 0, 5, 80), (0, 60, 41, 9, 70), (0, 62, 41, 9, 70)]
    assert mapped("41:0", (0,), *rows) == [(0, 60, 0, 9, 80), (0, 62, 0, 9, 70)]


def test_what_changes_nothing_stays_as_it_is():
    twice = [(0, 60, 0, 5, 80), (0, 60, 0, 5, 80)]
    assert mapped("41:0", (0,), *twice) == twice


@pytest.mark.parametrize(
    "text", ["", "0", "0:", ":0", "0:129", "0:-1", "0:1:2", "0:1,0:2", "nearest,nearest", "٠:1", "0:near"]
)
def test_what_is_no_map(text):
    assert not program_map.is_valid(text)
    with pytest.raises(ValueError):
        program_map.parse(text)


def test_advice():
    assert program_map.advice((0, 73), (110,)) == (
        "want --map-programs 0:110,73:110 or --map-programs nearest, or map_programs of the seed"
    )
    assert program_map.advice((0, 128), (110,)) == "want --map-programs 0:110,128:drop, or map_programs of the seed"
    many = program_map.advice(tuple(range(1, 11)), (0,))
    assert many.startswith("want --map-programs 1:0,2:0,3:0") and " and so on or --map-programs nearest" in many
