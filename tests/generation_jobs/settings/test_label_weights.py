import pytest

from generation_jobs.settings.label_weights import NO_CONDITION, condition
from generation_jobs.settings.requests import SETTINGS, Settings

LABEL = SETTINGS["label"]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("composer=Bach", {"composer": "Bach"}),
        ("composer=Bach, J. S.", {"composer": "Bach, J. S."}),
        ("composer=Bach:0.5,Mozart:0.5", {"composer": {"Bach": 0.5, "Mozart": 0.5}}),
        ("composer=Bach, J. S.:3", {"composer": "Bach, J. S.:3"}),
        ("composer = Bach ; year=1722", {"composer": "Bach", "year": "1722"}),
        ("title=a; b=c", {"title": "a", "b": "c"}),
        ("title=x=y", {"title": "x=y"}),
    ],
)
def test_a_label_as_text(text, want):
    assert LABEL.parse(text) == want


@pytest.mark.parametrize(
    "value", ["Bach", "composer=", "1=x", "a=b:0,c:1", {}, {"a": 1}, {"a": {}}, {"a": {"b": -1}}, ["a"]]
)
def test_what_is_no_label(value):
    with pytest.raises(ValueError, match="^want labels such as"):
        LABEL.parse(value)


def test_a_label_given_twice():
    with pytest.raises(ValueError, match="composer twice, want each label once"):
        LABEL.parse("composer=Bach;composer=Liszt")
    assert not LABEL.fits("composer=Bach;composer=Liszt")  # as of a seed


def test_a_label_of_a_seed():
    settings = Settings().override({"label": "composer=Bach", "guidance": 2})
    assert (settings.label, settings.guidance) == ({"composer": "Bach"}, 2.0)
    request = settings.request((1, 2), None)
    assert request.condition == ((("composer", (("Bach", 1.0),)),), 2.0)


def test_weights_add_up_to_one_and_unknown_is_nothing():
    assert condition({"b": {"y": 3, "x": 1}, "a": "v"}, None) == (
        (("a", (("v", 1.0),)), ("b", (("x", 0.25), ("y", 0.75)))),
        1.0,
    )
    assert condition({"b": {"y": 3, "unknown": 1}}, None).labels == (("b", (("y", 0.75),)),)
    assert condition({"b": "unknown"}, None) == condition(None, None) == NO_CONDITION
