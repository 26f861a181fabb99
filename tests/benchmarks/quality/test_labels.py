import numpy as np
import pytest

from benchmarks.quality import labels
from benchmarks.quality.labels import Classifier, cut, excerpts_of, mean_recall, measure
from job_runtime.problem_report import UserError
from midi_codec.music.notes import Notes


def piece(number: int, *, centre: int, step: int, size: int = 40) -> Notes:
    rng = np.random.default_rng(number)
    return Notes.from_columns(
        start=np.arange(size) * step,
        pitch=centre + rng.integers(-6, 7, size),
        velocity=rng.integers(40, 90, size),
        duration=rng.integers(50, 300, size),
        program=np.zeros(size, np.int64),
    )


def corpus(first: int, count: int) -> list[tuple[Notes, str]]:
    kinds = [("low", 45, 100), ("high", 75, 100), ("fast", 60, 20)]
    numbers = range(first, first + count)
    return [(piece(n, centre=centre, step=step), name) for n in numbers for name, centre, step in kinds]


NAMES = ["fast", "high", "low"]


def test_excerpts_are_successive():
    notes = piece(0, centre=60, step=10, size=45)
    assert [len(part) for part in cut(notes, 20)] == [20, 20]
    assert [len(part) for part in cut(notes, 50)] == [45]
    found = excerpts_of([(notes, "low"), (notes, "other"), (notes, "fast")], NAMES, 20)
    assert found.label.tolist() == [2, 2, 0, 0] and found.piece.tolist() == [0, 0, 2, 2]
    assert found.features.shape == (4, 12 + 22 + 16 + 16 + 16 + 37)
    assert (found.features**2).sum(axis=1) == pytest.approx(np.full(4, 6.0))
    with pytest.raises(UserError, match="there is no piece with one of the labels"):
        excerpts_of([(notes, "other")], NAMES, 20)


def test_labels_count_alike():
    guess, label = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 0, 0, 1])
    assert mean_recall(guess, label, 3) == (0.75 + 1) / 2


def test_what_can_be_told_apart_is_recognised(monkeypatch):
    monkeypatch.setattr(labels, "RESAMPLES", 50)
    classifier = Classifier(excerpts_of(corpus(0, 8), NAMES, 20), 3)
    held_out = excerpts_of(corpus(100, 5), NAMES, 20)
    assert measure(classifier, held_out, 3) == {
        "recall": 1.0,
        "low": 1.0,
        "high": 1.0,
        "confusion": [[10, 0, 0], [0, 10, 0], [0, 0, 10]],
    }
    same = [(piece(n, centre=60, step=100), NAMES[n % 3]) for n in range(30)]
    figures = measure(classifier, excerpts_of(same, NAMES, 20), 3)
    assert (figures["recall"], figures["low"], figures["high"]) == (0.333, 0.333, 0.333)  # all are taken for one label
