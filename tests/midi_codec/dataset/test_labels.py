import pytest

from midi_codec.dataset import labels
from midi_codec.dataset.labels import LabelCounts


@pytest.mark.parametrize("name", ["composer", "Year2", "a_b", "a" * 64])
def test_names(name):
    assert labels.name_problem(name) is None


@pytest.mark.parametrize("name", ["", "1st", "a b", "a.b", "ü", "_a", "a" * 65])
def test_what_is_not_a_name(name):
    assert labels.name_problem(name) == f"{name!r} is not the name of a label, want {labels.NAME_WANTED}"


@pytest.mark.parametrize("name", ["source", "split", "Unknown", "piece_id"])
def test_reserved_words(name):
    assert "is a reserved word" in str(labels.name_problem(name))


def test_values():
    values = (" Bach ", "unknown", "", "Unknown", "\udce9")
    assert [labels.clean(value) for value in values] == ["Bach", "", "", "Unknown", "�"]


def test_labels_as_bytes():
    found = {"year": "1722", "composer": 'Antonín 1, "2"'}
    assert labels.parse(labels.serialize(found)) == found
    assert labels.serialize(found) == labels.serialize(dict(reversed(found.items())))
    assert (labels.serialize({}), labels.parse(b"")) == (b"", {})
    for damaged in (b"{", b'{"a": 1}', b"[]"):
        with pytest.raises(ValueError):
            labels.parse(damaged)


def test_counts():
    counts = LabelCounts()
    for split, value, number in (("train", "b", 2), ("test", "a", 1), ("train", "a", 4), ("train", "b", 1)):
        counts.add(split, {"name": value, "one": "x"}, number)
    assert counts.counts() == {
        "name": {"train": {"a": 4, "b": 3}, "test": {"a": 1}},
        "one": {"train": {"x": 7}, "test": {"x": 1}},
    }
    twice = LabelCounts()
    for _ in range(2):
        twice.add_counts(counts.counts())
    assert twice.counts()["name"] == {"train": {"a": 8, "b": 6}, "test": {"a": 2}}
    assert list(labels.describe(counts.counts(), 10, most=1)) == [
        "name: a 5, 1 other values, without 2",
        "one: x 8, without 2",
    ]


def test_too_many_values_are_not_listed(monkeypatch):
    monkeypatch.setattr(labels, "MOST_VALUES", 2)
    counts = LabelCounts()
    for value in "abca":
        counts.add("train", {"name": value, "one": "x"})
    assert counts.counts() == {"name": {}, "one": {"train": {"x": 4}}}
    again = LabelCounts()
    again.add("train", {"name": "a"})
    again.add_counts(counts.counts())
    again.add("train", {"name": "a"})
    assert again.counts() == counts.counts()
    assert next(labels.describe(counts.counts(), 4)) == "name: more than 2 values, which only the records have"
