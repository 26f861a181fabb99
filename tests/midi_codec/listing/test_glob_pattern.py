import shutil
import subprocess

import pytest

from midi_codec.listing import glob_pattern

FILES = [
    "a.mid",
    "c.txt",
    ".dot.mid",
    ".hid/x.mid",
    "sub/d.mid",
    "sub/.y.mid",
    "sub/deep/e.midi",
    "sub/deep/f.kar",
    "sub2/a.rmi",
    "sub2/d.mid",
    "s[1].mid",
    "q{1}.mid",
    "x,y.mid",
    "a b.mid",
]

PATTERNS = {
    "*.mid": ["a b.mid", "a.mid", "q{1}.mid", "s[1].mid", "x,y.mid"],
    "?.mid": ["a.mid"],
    "**/*.mid": ["a b.mid", "a.mid", "q{1}.mid", "s[1].mid", "sub/d.mid", "sub2/d.mid", "x,y.mid"],
    "**/deep/*": ["sub/deep/e.midi", "sub/deep/f.kar"],
    "sub/**/*.kar": ["sub/deep/f.kar"],
    "sub*/d.mid": ["sub/d.mid", "sub2/d.mid"],
    "*/d.mid": ["sub/d.mid", "sub2/d.mid"],
    "sub/*": ["sub/d.mid", "sub/deep/e.midi", "sub/deep/f.kar"],
    "s*b": ["sub/.y.mid", "sub/d.mid", "sub/deep/e.midi", "sub/deep/f.kar"],
    "sub[2]/": ["sub2/a.rmi", "sub2/d.mid"],
    ".*": [".dot.mid", ".hid/x.mid"],
    "**/.y.mid": ["sub/.y.mid"],
    "[a-b].mid": ["a.mid"],
    "[]a].mid": ["a.mid"],
    "[!b]*.txt": ["c.txt"],
    "[^b]*.txt": ["c.txt"],
    "s[[]1].mid": ["s[1].mid"],
    "s\\[1\\].mid": ["s[1].mid"],
    "q{1}.mid": ["q{1}.mid"],
    "{a,s\\[1\\]}.mid": ["a.mid", "s[1].mid"],
    "{sub,sub2}/{d,{e,a}}.*": ["sub/d.mid", "sub2/a.rmi", "sub2/d.mid"],
    "*,*": ["x,y.mid"],
    "sub2/[x": [],
    "*.MIDI": [],
    "sub": ["sub/.y.mid", "sub/d.mid", "sub/deep/e.midi", "sub/deep/f.kar"],
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_a_pattern_matches(pattern):
    expression = glob_pattern.compile_pattern(pattern)
    assert sorted(name for name in FILES if expression.fullmatch(name)) == PATTERNS[pattern]


@pytest.mark.skipif(shutil.which("bash") is None, reason="the oracle is bash")
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_shell_means_the_same(pattern, tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    script = f'shopt -s globstar nullglob; IFS=; for word in {pattern}; do find "$word" -type f 2>/dev/null; done; true'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert sorted({line.replace("//", "/") for line in done.stdout.splitlines()}) == PATTERNS[pattern]


@pytest.mark.parametrize("pattern", ["*.mid", "**/*.MID", "{B,c}.Mid"])
def test_a_midi_extension_matches_in_any_case(pattern):
    assert glob_pattern.compile_pattern(pattern).fullmatch("B.mId")


def test_other_letters_keep_their_case():
    assert not glob_pattern.compile_pattern("b*.mid").fullmatch("B.mid")
    assert not glob_pattern.compile_pattern("*.txt").fullmatch("a.TXT")


@pytest.mark.parametrize(
    ("pattern", "want"),
    [("/m/*.mid", "/m"), ("/*", "/"), ("*.mid", ""), ("gs://b/p?/x", "gs://b"), ("/m/{a,b}/c", "/m"), ("/m/a", "/m")],
)
def test_literal_folder(pattern, want):
    assert glob_pattern.literal_folder(pattern) == want


def test_what_counts_as_a_pattern():
    assert [p for p in ["a*", "a?", "a[b", "{a,b}", "{a}", "a,b", "plain"] if glob_pattern.is_pattern(p)] == [
        "a*",
        "a?",
        "a[b",
        "{a,b}",
    ]


def test_a_backward_range_is_named():
    with pytest.raises(ValueError, match="not a glob: the range z-a runs backwards"):
        glob_pattern.compile_pattern("[a-cz-a]")


@pytest.mark.parametrize("pattern", [r"\[z-a\].mid", "[z-a/b].mid", "[z-a.mid"])
def test_what_is_no_bracket_has_no_range(pattern):
    glob_pattern.compile_pattern(pattern)


def test_a_name_below_a_folder_may_have_several_lines():
    assert glob_pattern.compile_pattern("a*").fullmatch("ab/x\ny.mid")


def test_braces_that_mean_too_many_patterns():
    with pytest.raises(ValueError, match="not a glob: .*1000"):
        glob_pattern.compile_pattern("{1..2000}.mid")
