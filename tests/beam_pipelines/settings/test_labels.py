import dataclasses

import pytest

from beam_pipelines.settings import label_file, labels
from beam_pipelines.settings.labels import LabelRule
from job_runtime.command_line.settings import settings_of
from job_runtime.problem_report import UserError

CSV = "path,composer,year\na.mid,Bach,1722\nb/c.mid, unknown ,\n"
JSONL = '{"file": "a.mid", "year": 1722, "live": true}\n\n{"composer": null, "file": "b.mid"}\n'


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def problems_of(tmp_path, name, text, key=None):
    path = write(tmp_path, name, text)
    with pytest.raises(UserError) as error:
        label_file.read(path, key)
    return [problem.removeprefix(path) for problem in error.value.problems]


def test_a_csv_file(tmp_path):
    found = label_file.read(write(tmp_path, "x.CSV", "\ufeff" + CSV), None)
    assert found.rows == {"a.mid": {"composer": "Bach", "year": "1722"}, "b/c.mid": {}}
    assert found.names == {"composer", "year"}


def test_json_lines(tmp_path):
    found = label_file.read(write(tmp_path, "x.jsonl", JSONL), None)
    assert found.rows == {"a.mid": {"year": "1722", "live": "true"}, "b.mid": {}}


def test_the_column_may_be_named(tmp_path):
    path = write(tmp_path, "x.csv", "midi,composer\na.mid,Bach\n")
    assert label_file.read(path, "midi").rows == {"a.mid": {"composer": "Bach"}}


def test_everything_wrong_with_a_csv_file(tmp_path):
    text = "path,composer\na.mid,Bach\na.mid,Haydn\n,Bach\nb.mid\nc.mid," + 1001 * "x" + "\n"
    assert problems_of(tmp_path, "x.csv", text) == [
        ":3: 'a.mid' has a row already, in line 2",
        ":4: path is '', want the path of a file below --input",
        ":5: the row has 1 cells, want 2 as in the header",
        ":6: composer has 1,001 characters, want at most 1,000",
    ]
    assert problems_of(tmp_path, "x.csv", "path,split,a b,x,x\na.mid,1,2,3,4\n") == [
        ": 'split' is a reserved word, want a name other than piece_id, group_id, source, split, unknown",
        ": 'a b' is not the name of a label, want a letter, then letters, digits or _, at most 64 characters",
        ":1: the column 'x' is given twice",
    ]
    assert problems_of(tmp_path, "x.csv", "") == [": there is no row, want at least one"]
    assert problems_of(tmp_path, "x.csv", "a,b\n1,2\n") == [
        ": no column names the source, want one of source, path, file, or --labels-key"
    ]
    with pytest.raises(UserError, match="there is no column 'midi', want one of a, b as --labels-key"):
        label_file.read(write(tmp_path, "x.csv", "a,b\n1,2\n"), "midi")
    assert problems_of(tmp_path, "x.csv", "path\na.mid\n") == [
        ": there are no labels besides the column that names the source"
    ]


def test_everything_wrong_with_json_lines(tmp_path):
    text = '{"file": 1, "a": "x"}\n[]\n{"file": "b.mid", "a": ["x"]}\n{\n'
    assert [problem[:3] for problem in problems_of(tmp_path, "x.jsonl", text)] == [":1:", ":2:", ":3:", ":4:"]
    assert problems_of(tmp_path, "x.jsonl", text.replace("[]\n", "").replace("{\n", "")) == [
        ":1: file is 1, want the path of a file below --input",
        ":2: a is ['x'], want a text, a number, true or false",
    ]


def test_what_is_not_a_file(tmp_path):
    with pytest.raises(UserError, match="^--labels '.*nothing.csv' cannot be read: No such file"):
        label_file.read(str(tmp_path / "nothing.csv"), None)
    (tmp_path / "x.csv").write_bytes(b"path,a\nb,\xff\n")
    with pytest.raises(UserError, match=":2: byte 0xff is not UTF-8"):
        label_file.read(str(tmp_path / "x.csv"), None)


def test_labels_of_a_source(tmp_path):
    path = write(tmp_path, "x.csv", CSV)
    rule = LabelRule(regex="^(?P<folder>[^/]+)/|(?P<stem>a)", file=path)
    rule = rule.checked(["a.mid", "b/c.mid", "d/e.mid", "f.mid"])
    assert [rule.of(source) for source in ("a.mid", "b/c.mid", "d/e.mid", "f.mid")] == [
        {"stem": "a", "composer": "Bach", "year": "1722"},
        {"folder": "b"},
        {"folder": "d"},
        {},
    ]
    assert rule.remarks == (f"{path}: 2 files of --input without a row, such as 'd/e.mid', 'f.mid'",)
    assert rule.checked(["a.mid"]).remarks == (f"{path}: 1 row of 2 name no file of --input: 'b/c.mid'",)
    assert rule.settings() == {"label_regex": rule.regex, "label_file": rule.digest}
    assert LabelRule().settings() == {}


def test_no_row_names_a_file(tmp_path):
    path = write(tmp_path, "x.csv", CSV)
    with pytest.raises(UserError) as error:
        LabelRule(file=path).checked(["x/a.mid"])
    assert error.value.problems == [
        f"{path}: none of its 2 rows names a file of --input, such as 'a.mid'; want paths such as 'x/a.mid'"
    ]


def test_a_name_has_one_origin(tmp_path):
    path = write(tmp_path, "x.csv", "path,key,composer\na.mid,C major,Bach\n")
    rule = LabelRule(regex="(?P<composer>a)", file=path, attributes=("key", "timing"))
    with pytest.raises(UserError, match="^more than one of .* gives composer, key, want one$"):
        rule.checked(["a.mid"])


def test_a_file_that_changes_is_noticed(tmp_path):
    path = write(tmp_path, "x.csv", CSV)
    rule = LabelRule(file=path).checked(["a.mid"])
    write(tmp_path, "x.csv", CSV.replace("Bach", "Haydn"))
    labels._load.cache_clear()
    with pytest.raises(UserError, match="has changed since the encode began"):
        rule.of("a.mid")
    assert dataclasses.replace(rule, digest="").of("a.mid") == {"composer": "Haydn", "year": "1722"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("regex", "(", "which is not a regular expression"),
        ("regex", "(a)", "want a regular expression whose named groups give labels"),
        ("regex", "(?P<source>a)", "where 'source' is a reserved word"),
        ("attributes", "key,tempo", "want some of key, density, polyphony, instruments, timing, each once"),
        ("attributes", "key,key", "want some of"),
    ],
)
def test_flags_that_are_wrong(name, text, message):
    with pytest.raises(ValueError, match=f"^{message}".replace("(", "[(]")):
        settings_of(LabelRule)[name].parse(text)


def test_attributes_are_in_one_order():
    assert settings_of(LabelRule)["attributes"].parse("timing, key") == ("key", "timing")
    assert settings_of(LabelRule)["attributes"].parse("none") == ()
