import json

import numpy as np
import pytest

from trainer.evaluation.bootstrap import resample_sums
from trainer.evaluation.figures import Measured, Split, make_report

RNG = np.random.default_rng(0)
NUM_PIECES = 30
SPLIT = Split(
    piece_id=[f"{index:032x}" for index in range(NUM_PIECES)],
    group=np.arange(NUM_PIECES) // 2,
    num_notes=RNG.integers(20, 200, NUM_PIECES),
    seconds=RNG.uniform(5, 60, NUM_PIECES),
)


def make_sums(scale: float) -> dict[str, np.ndarray]:
    notes = SPLIT.num_notes
    return {
        "nll_step": scale * notes * RNG.normal(2, 0.1, NUM_PIECES),
        "top1_step": np.floor(notes * 0.5),
        "error_step": notes * 12.5,
        "nll_pitch": scale * notes * RNG.normal(3, 0.1, NUM_PIECES),
    }


ONE = Measured("one", make_sums(1.0), {"bundle": "runs/one/bundle"})
TWO = Measured("two", make_sums(1.01), {"bundle": "runs/two/bundle"})
BASELINE = Measured("unigram", {"nll_pitch": SPLIT.num_notes * 4.0})


def report_of(*measured: Measured, split: Split = SPLIT, rng_seed: int = 0) -> dict:
    return make_report(split, measured, num_resamples=500, rng_seed=rng_seed)


def test_values_are_ratios_of_sums():
    row = report_of(BASELINE, ONE)["models"][1]
    notes, seconds = SPLIT.num_notes.sum(), SPLIT.seconds.sum()
    nll = ONE.sums["nll_step"].sum() + ONE.sums["nll_pitch"].sum()
    assert row["name"] == "one" and row["bundle"] == "runs/one/bundle"
    assert row["nll"]["value"] == pytest.approx(nll / notes, rel=1e-12)
    assert row["nll_per_second"]["value"] == pytest.approx(nll / seconds, rel=1e-12)
    assert row["nll_by_field"]["pitch"]["value"] == pytest.approx(ONE.sums["nll_pitch"].sum() / notes, rel=1e-12)
    assert row["accuracy"]["step"]["top1"]["value"] == pytest.approx(ONE.sums["top1_step"].sum() / notes, rel=1e-12)
    assert row["error_milliseconds"]["step"] == pytest.approx({"value": 12.5, "low": 12.5, "high": 12.5})


def test_intervals_are_those_of_resampled_groups():
    row = report_of(ONE)["models"][0]
    columns = np.stack([ONE.sums["nll_pitch"], SPLIT.num_notes.astype(float)], axis=1)
    drawn = resample_sums(columns, SPLIT.group, num_resamples=500, rng_seed=0)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    found = row["nll_by_field"]["pitch"]
    assert (found["low"], found["high"]) == pytest.approx((low, high), rel=1e-12)
    assert report_of(ONE) == report_of(ONE)
    assert report_of(ONE, rng_seed=1)["models"][0]["nll"]["low"] != row["nll"]["low"]


def test_differences_are_paired():
    """The second model costs a hundredth of a nat more on every piece: sure, although pieces differ by much."""
    pieces = SPLIT.num_notes * RNG.normal(5, 2, NUM_PIECES)
    first = Measured("first", {"nll_pitch": pieces}, {"bundle": "a"})
    second = Measured("second", {"nll_pitch": pieces + 0.01 * SPLIT.num_notes}, {"bundle": "b"})
    report = report_of(first, second)
    assert report["models"][0]["nll"]["high"] - report["models"][0]["nll"]["low"] > 0.5
    (difference,) = report["differences"]
    assert (difference["name"], difference["minus"]) == ("second", "first")
    assert difference["nll"] == pytest.approx({"value": 0.01, "low": 0.01, "high": 0.01}, rel=1e-9)


def test_every_two_are_compared_over_what_both_have():
    report = report_of(BASELINE, ONE, TWO)
    assert [(row["name"], row["minus"]) for row in report["differences"]] == [
        ("one", "unigram"),
        ("two", "unigram"),
        ("two", "one"),
    ]
    assert set(report["differences"][0]["nll_by_field"]) == {"pitch"}
    assert "accuracy" not in report["differences"][0]
    assert set(report["differences"][2]["nll_by_field"]) == {"step", "pitch"}


def test_one_group_has_no_interval():
    alone = Split(SPLIT.piece_id, np.zeros(NUM_PIECES, int), SPLIT.num_notes, SPLIT.seconds)
    row = report_of(ONE, split=alone)["models"][0]
    assert row["nll"]["low"] is None and row["nll"]["high"] is None and row["nll"]["value"] > 0


def test_json_holds_the_split_and_every_piece():
    report = json.loads(json.dumps(report_of(ONE)))
    assert report["split"] == {
        "num_pieces": NUM_PIECES,
        "num_groups": NUM_PIECES // 2,
        "num_notes": int(SPLIT.num_notes.sum()),
        "seconds": pytest.approx(SPLIT.seconds.sum()),
    }
    assert report["intervals"] == {"level": 0.95, "num_resamples": 500, "rng_seed": 0}
    pieces = report["pieces"]
    assert pieces["piece_id"] == SPLIT.piece_id and pieces["num_notes"] == SPLIT.num_notes.tolist()
    assert pieces["sums"]["one"]["nll_pitch"] == ONE.sums["nll_pitch"].tolist()


KNOWN = np.arange(NUM_PIECES) % 3 > 0
LABELLED = Measured(
    "told",
    {
        "nll_pitch": SPLIT.num_notes * 4.0,
        "known_year_of_birth": KNOWN.astype(float),
        "own_year_of_birth": KNOWN * SPLIT.num_notes * 4.0,
        "unknown_year_of_birth": KNOWN * SPLIT.num_notes * 4.25,
        "others_year_of_birth": KNOWN * SPLIT.num_notes * RNG.normal(4.5, 0.1, NUM_PIECES),
        "likeliest_year_of_birth": (KNOWN & (np.arange(NUM_PIECES) % 2 > 0)).astype(float),
    },
)


def test_figures_of_labels_are_of_the_pieces_with_a_value():
    report = report_of(ONE, LABELLED)
    found, notes = report["models"][1]["labels"]["year_of_birth"], SPLIT.num_notes[KNOWN].sum()
    assert found["own"] == pytest.approx({"value": 4, "low": 4, "high": 4})
    assert found["unknown"] == pytest.approx({"value": 4.25, "low": 4.25, "high": 4.25})
    assert found["unknown_minus_own"] == pytest.approx({"value": 0.25, "low": 0.25, "high": 0.25})
    others = LABELLED.sums["others_year_of_birth"].sum() / notes
    assert found["others"]["value"] == pytest.approx(others) and found["others"]["low"] < others
    assert found["others_minus_own"]["value"] == pytest.approx(others - 4)
    assert found["likeliest"]["value"] == 0.5 and 0.2 < found["likeliest"]["low"] < 0.5 < found["likeliest"]["high"]
    columns = np.stack([LABELLED.sums["likeliest_year_of_birth"], KNOWN.astype(float)], axis=1)
    drawn = resample_sums(columns, SPLIT.group, num_resamples=500, rng_seed=0)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    assert (found["likeliest"]["low"], found["likeliest"]["high"]) == pytest.approx((low, high), rel=1e-12)
    assert "labels" not in report["models"][0] and "labels" not in report["differences"][0]
    assert report["models"][1]["nll"]["value"] == pytest.approx(4)


@pytest.mark.parametrize(("pieces", "has_interval"), [([4], False), ([4, 5], False), ([4, 9], True)])
def test_labels_of_few_pieces(pieces, has_interval):
    """Pieces 4 and 5 are a group. Many resamples hold neither of two groups; they say nothing."""
    known = np.isin(np.arange(NUM_PIECES), pieces).astype(float)
    sums = {"nll_pitch": SPLIT.num_notes * 4.0, "known_a": known}
    sums |= {"own_a": 4 * known * SPLIT.num_notes, "unknown_a": 5 * known * SPLIT.num_notes}
    (row,) = report_of(Measured("told", sums))["models"]
    bounds = {"low": 1.0, "high": 1.0} if has_interval else {"low": None, "high": None}
    assert row["labels"]["a"]["unknown_minus_own"] == {"value": 1.0, **bounds}
    assert row["nll"]["low"] is not None
