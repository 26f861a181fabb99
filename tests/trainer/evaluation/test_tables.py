import numpy as np
import pytest

from trainer.evaluation import calibration
from trainer.evaluation.figures import Measured, Split, make_report
from trainer.evaluation.tables import format_report

NUM_NOTES = np.array([10, 30, 60])
DATA = {"path": "folk", "split": "test", "hash": "0" * 32, "time_base": "beats"}


def make_one(name: str, cost: float, *, is_bundle: bool = True, is_categorical: bool = True) -> Measured:
    sums = {"nll_step": cost * NUM_NOTES, "nll_pitch": 2 * NUM_NOTES.astype(float)}
    if not is_bundle:
        return Measured(name, sums)
    sums["top1_pitch"], sums["top3_pitch"], sums["top5_pitch"] = (share * NUM_NOTES for share in (0.5, 0.75, 1.0))
    sums["error_step"] = 12.34 * NUM_NOTES
    counts = np.zeros((calibration.CONFIDENCE_BINS, 3))
    counts[7] = [100, 50, 53]
    reliability = {"pitch": calibration.describe_reliability(counts)}
    if is_categorical:
        sums["top1_step"] = 0.25 * NUM_NOTES
    pit = {"step": calibration.describe_pit(np.ones(calibration.PIT_BINS))}
    return Measured(name, sums, {"bundle": f"{name}/bundle", "reliability": reliability, "pit": pit})


def text_of(*measured: Measured, groups: tuple[int, ...] = (0, 1, 2)) -> list[str]:
    split = Split(["a", "b", "c"], np.array(groups), NUM_NOTES, NUM_NOTES / 4.0)
    report = make_report(split, measured, num_resamples=200, rng_seed=0)
    return format_report({"data": DATA, **report}).splitlines()


def cells_below(lines: list[str], title: str) -> list[list[str]]:
    """The words of each line of a table, its title left out."""
    start = next(index for index, line in enumerate(lines) if line.startswith(title)) + 1
    rest = lines[start:]
    return [line.split() for line in (rest[: rest.index("")] if "" in rest else rest)]


def test_the_headline_says_what_was_measured():
    lines = text_of(make_one("run", 1.0))
    assert lines[0] == "test of folk: 3 pieces, 100 notes, 25 s of music"
    assert lines[1] == "below each figure its 95% interval: 200 resamples of 3 groups of pieces"


def test_likelihoods_have_their_intervals_below():
    table = cells_below(text_of(make_one("unigram", 1.5, is_bundle=False), make_one("run", 1.0)), "nats per note")
    assert table == [
        ["all", "step", "pitch", "nats", "per", "second"],
        ["unigram", "3.500", "1.500", "2.000", "14.000"],
        ["3.500", "3.500", "1.500", "1.500", "2.000", "2.000", "14.000", "14.000"],
        ["run", "3.000", "1.000", "2.000", "12.000"],
        ["3.000", "3.000", "1.000", "1.000", "2.000", "2.000", "12.000", "12.000"],
    ]


def test_differences_are_against_the_first_bundle():
    lines = text_of(make_one("unigram", 1.5, is_bundle=False), make_one("run", 1.0), make_one("wide", 0.75))
    table = cells_below(lines, "minus run, paired")
    assert table[1] == ["unigram", "+0.500", "+0.500", "+0.000", "+2.000"]
    assert table[3] == ["wide", "-0.250", "-0.250", "+0.000", "-1.000"]
    assert table[4][:4] == ["-0.250"] * 4


def test_a_negated_difference_swaps_the_ends_of_its_interval():
    rng = np.random.default_rng(0)
    other = Measured("unigram", {"nll_pitch": NUM_NOTES * rng.uniform(1, 3, 3)})
    run = Measured("run", {"nll_pitch": NUM_NOTES * rng.uniform(1, 3, 3)}, {"bundle": "b"})
    first = cells_below(text_of(other, run), "minus run")
    second = cells_below(text_of(run, other), "minus run")
    assert first == second
    low, high = map(float, first[2][:2])
    assert low < float(first[1][1]) < high


def test_accuracy_errors_and_calibration():
    lines = text_of(make_one("run", 1.0), make_one("wide", 1.0, is_categorical=False))
    assert cells_below(lines, "the likeliest bin is the note's, %")[:2] == [["step", "pitch"], ["run", "25.0", "50.0"]]
    assert cells_below(lines, "the likeliest bin is the note's, %")[3] == ["wide", "-", "50.0"]
    assert cells_below(lines, "the note's bin is among the 3 likeliest, %")[1] == ["run", "75.0"]
    assert cells_below(lines, "mean error of the best guess, milliseconds")[1] == ["run", "12.3"]
    assert cells_below(lines, "expected calibration error, %") == [
        ["pitch"],
        ["run", "3.00", "(3.99)"],  # sqrt(2 / pi * 100 * 0.5 * 0.5) / 100
        ["wide", "3.00", "(3.99)"],
    ]
    assert cells_below(lines, "times: share of notes away from a flat PIT histogram, %")[1] == ["run", "0.0"]


def test_one_bundle_alone_has_no_differences_and_one_group_no_intervals():
    lines = text_of(make_one("run", 1.0), groups=(4, 4, 4))
    assert lines[1] == "no intervals: all pieces belong to one group"
    assert not any(line.startswith("minus") for line in lines)
    assert cells_below(lines, "nats per note")[1:] == [["run", "3.000", "1.000", "2.000", "12.000"]]


@pytest.mark.parametrize("length", [3, 40])
def test_columns_stand_below_their_titles(length):
    lines = text_of(make_one("x" * length, 1.0))
    title, row = lines[4], lines[5]
    assert title.index("all") + 3 == row.index("3.000") + 5


def make_told(name: str, **labels: float) -> Measured:
    """A model that knows labels of the first two pieces: what it costs more with other values."""
    known = np.array([1.0, 1.0, 0.0])
    sums, about = dict(make_one(name, 1.0).sums), {}
    for label, more in labels.items():
        sums[f"known_{label}"], sums[f"own_{label}"] = known, 3 * known * NUM_NOTES
        sums[f"unknown_{label}"] = sums[f"own_{label}"] + more / 2 * known * NUM_NOTES
        if more:
            sums[f"others_{label}"] = sums[f"own_{label}"] + more * known * NUM_NOTES
            sums[f"likeliest_{label}"] = np.array([0.0, 1.0, 0.0])
        about[label] = {"num_pieces": 2, "num_values": 5, "by_chance": 0.2, "commonest": 0.5}
    return Measured(name, sums, {"bundle": f"{name}/bundle", "label_values": about})


def test_labels_have_two_tables_each():
    lines = text_of(make_one("run", 1.0), make_told("told", composer=0.5, live=0.0), make_told("a", composer=-0.25))
    assert cells_below(lines, "composer: nats per note") == [
        ["own", "unknown", "-", "own", "others", "-", "own"],
        ["told", "3.000", "0.250", "0.500"],
        ["3.000", "3.000", "0.250", "0.250", "0.500", "0.500"],
        ["a", "3.000", "-0.125", "-0.250"],
        ["3.000", "3.000", "-0.125", "-0.125", "-0.250", "-0.250"],
    ]
    assert cells_below(lines, "composer: pieces that are likeliest")[:3] == [
        ["own", "likeliest", "by", "chance", "commonest"],
        ["told", "50.0", "20.0", "50.0"],
        ["0.0", "100.0"],
    ]
    assert cells_below(lines, "live: nats per note")[:2] == [["own", "unknown", "-", "own"], ["told", "3.000", "0.000"]]
    assert not any(line.startswith("live: pieces") for line in lines)


def test_without_labels_there_are_no_tables_of_them():
    assert not any("own value" in line for line in text_of(make_one("run", 1.0)))
