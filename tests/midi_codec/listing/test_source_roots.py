import pytest

from midi_codec.listing.source_roots import name_roots, outermost


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["/m"], [""]),
        (["/"], [""]),
        (["/m", "/m/deep", "/m"], [""]),
        (["/m", "/m2"], ["m", "m2"]),
        (["/m/a", "/m/b/c"], ["a", "c"]),
        (["/x/midi", "/y/midi", "/y/other"], ["x/midi", "y/midi", "y/other"]),
        (["gs://b/midi", "gs://c/midi"], ["b/midi", "c/midi"]),
        (["gs://b", "/b/b"], ["/b/b", "gs://b"]),
        (["/a/x", "gs://a/x"], ["/a/x", "gs://a/x"]),
        (["/a", "/q/a", "/w/a/b"], ["a", "q/a", "w/a/b"]),  # with two names, a/b could mean two places
    ],
)
def test_names_of_roots(folders, names):
    named = name_roots(folders)
    assert list(named) == names
    assert list(named.values()) == outermost(folders)
