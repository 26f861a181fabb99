import collections
import itertools
import re

import numpy as np
import pytest

from beam_pipelines.settings import splits
from beam_pipelines.settings.splits import SplitRule

IDS = [f"{number:032x}" for number in range(20_000)]


def test_a_group_keeps_its_split_for_good():
    # These are part of the dataset format: they may never change.
    rule = SplitRule(percents=(40, 30, 30))
    assigned = [rule.assign(group_id=group, source="any")[:2] for group in ("0" * 32, *"abcdefg")]
    assert assigned == ["tr", "va", "va", "tr", "tr", "va", "te", "va"]


def test_shares_come_near_the_percents():
    counts = collections.Counter(splits.split_of_group(group, (90, 5, 5)) for group in IDS)
    assert counts == {"train": 17923, "validation": 1102, "test": 975}


def test_a_percent_of_nothing_gets_nothing():
    assert {splits.split_of_group(group, (0, 100, 0)) for group in IDS[:500]} == {"validation"}
    assert SplitRule(percents=(99, 0, 1)).splits_of(["x"]) == ("train", "test")


def test_more_training_takes_from_the_others_only():
    small = {group for group in IDS if splits.split_of_group(group, (80, 10, 10)) == "train"}
    large = {group for group in IDS if splits.split_of_group(group, (90, 5, 5)) == "train"}
    assert small < large


@pytest.mark.parametrize(
    ("text", "want"),
    [("90,5,5", (90, 5, 5)), ("100, 0, 0", (100, 0, 0)), ("0,0,100", (0, 0, 100))],
)
def test_parse_percents(text, want):
    assert splits.parse_percents(text) == want


@pytest.mark.parametrize("text", ["", "90", "90,10", "90,5,5,0", "90,5,x", "110,-5,-5", "33.4,33.3,33.3"])
def test_percents_that_are_not_three_numbers(text):
    with pytest.raises(ValueError, match="want three whole numbers that add up to 100: train, validation, test"):
        splits.parse_percents(text)


def test_percents_that_do_not_add_up():
    with pytest.raises(ValueError, match="^which adds up to 99, want 100$"):
        splits.parse_percents("90,5,4")


@pytest.mark.parametrize(
    ("regex", "source", "want"),
    [
        ("^(train|valid|test)/", "valid/x.mid", "validation"),
        ("^(train|valid|test)/", "TRAIN/x.mid", None),
        ("(?i)^(train|valid|test)/", "TRAIN/x.mid", "train"),
        (r"(\w+)/(?P<split>\w+)/", "jazz/dev/x.mid", "validation"),
        (r"_(\w+)\.mid$", "song_test.mid", "test"),
        ("^(train)|^(other)", "other/x.mid", None),
        ("^(.*)/", "held out/x.mid", None),
    ],
)
def test_split_of_source(regex, source, want):
    assert splits.split_of_source(source, re.compile(regex)) == want


def test_a_rule_by_path():
    rule = SplitRule(regex="^(train|val)/")
    assert rule.assign(group_id="whatever", source="val/a.mid") == "validation"
    assert rule.splits_of(["val/a.mid", "train/b.mid", "val/c.mid"]) == ("train", "validation")
    with pytest.raises(ValueError, match="x.mid: no split in this path"):
        rule.assign(group_id="whatever", source="x.mid")


def test_a_rule_is_one_or_the_other():
    with pytest.raises(ValueError, match="either percentages or an expression"):
        SplitRule()
    with pytest.raises(ValueError, match="either percentages or an expression"):
        SplitRule(percents=(90, 5, 5), regex="x")


@pytest.mark.parametrize(
    ("regex", "message"),
    [
        ("(", "which is not a regular expression: missing ), unterminated subpattern at position 0"),
        ("train", "want a regular expression with a group that gives the split, such as '^(train|valid|test)/'"),
    ],
)
def test_an_expression_that_cannot_work(regex, message):
    with pytest.raises(ValueError) as error:
        splits.SPLIT_REGEX.read(regex)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("regex", "message"),
    [
        ("^(train)/", "--split-regex '^(train)/' matches nothing in 2 of 3 paths, such as 'eval/b.mid', 'eval/c.mid'"),
        (
            r"^(\w+)/",
            r"--split-regex '^(\\w+)/' reads the split 'eval' from 'eval/b.mid', 'eval/c.mid'; want one of train, "
            "training, valid, val, dev, validation, test, testing",
        ),
    ],
)
def test_paths_without_a_split(regex, message):
    assert splits.unmatched(regex, ["train/a.mid", "eval/b.mid", "eval/c.mid"]) == [message]


def test_every_path_has_a_split():
    assert splits.unmatched("^(train|valid)/", ["train/a.mid", "valid/b.mid"]) == []


def filled(ids: list[bytes], places: list[int], percents: tuple[int, ...], **changes) -> list[int]:
    may_move = np.array(changes.get("may_move", [True] * len(ids)), bool)
    return splits.fill_empty(np.array(ids, "S32"), np.array(places, np.uint8), may_move, percents).tolist()


def test_three_groups_fill_three_splits_whatever_chance_says():
    for places in itertools.product(range(3), repeat=3):
        assert sorted(filled([b"a", b"b", b"c"], list(places), (90, 5, 5))) == [0, 1, 2]


def test_who_fills_an_empty_split_never_changes():
    # Part of the dataset format, like the hash of a group.
    assert filled([b"a", b"b", b"c", b"d", b"e"], [0] * 5, (90, 5, 5)) == [0, 0, 1, 2, 0]
    assert filled([b"e", b"d", b"c", b"b", b"a"], [0] * 5, (90, 5, 5)) == [0, 2, 1, 0, 0]


def test_a_split_of_no_percent_stays_empty():
    assert filled([b"a", b"b", b"c"], [0, 0, 0], (100, 0, 0)) == [0, 0, 0]
    assert sorted(filled([b"a", b"b", b"c"], [2, 2, 2], (50, 0, 50))) == [0, 2, 2]


def test_the_last_group_of_a_split_does_not_move():
    assert filled([b"a", b"a"], [0, 0], (50, 50, 0)) == [0, 0]
    assert filled([b"a", b"b"], [0, 1], (90, 5, 5)) == [0, 1]
    assert filled([b"a", b"b"], [0, 0], (50, 50, 0), may_move=[False, True]) == [0, 1]
    assert filled([b"a", b"b"], [0, 0], (50, 50, 0), may_move=[False, False]) == [0, 0]
    assert filled([], [], (90, 5, 5)) == []
