"""Lists of pieces: every form, the order, and what is refused."""

import pytest

from generation_jobs.output import selection
from job_runtime.problem_report import UserError


def line(seed_id: str, sample: int, piece_id: str, path: str | None = "") -> dict:
    name = f"{seed_id}-{sample:05d}"
    path = f"midi/{seed_id}/{name}.mid" if path == "" else path
    return {"seed_id": seed_id, "sample": sample, "piece_id": piece_id, "path": path}


LINES = [
    line("bach", 0, "a" * 32),
    line("bach", 1, "b" * 32),
    line("bach", 2, "c" * 32, None),  # left out by screening
    line("abba", 0, "b" * 32, "midi/pieces-00000-of-00001.tar!abba/abba-00000.mid"),
]


def chosen(tmp_path, text: str) -> list[str]:
    path = tmp_path / "kept.csv"
    path.write_bytes(text.encode())
    return [selection.stem(LINES[index]) for index in selection.select(str(path), LINES)]


@pytest.mark.parametrize(
    "text, names",
    [
        ("abba-00000\nbach-00000\n", ["bach-00000", "abba-00000"]),  # in the order of the manifest
        ("piece\r\nbach-00001.mid\r\n\r\n", ["bach-00001"]),
        ("\ufeffpiece,mark,note\nbach-00000,keep,\"a, \"\"b\"\"\nc\"\nbach-00001,reject,\n", ["bach-00000"]),
        ("note,mark\n", None),
        ("bach:1\n", ["bach-00001"]),
        ("b" * 32, ["bach-00001", "abba-00000"]),  # two samples with the same notes
        (LINES[3]["path"], ["abba-00000"]),
        ("bach-00000,anything\nbach-00000\n", ["bach-00000"]),
    ],
)  # fmt: skip
def test_what_a_list_selects(tmp_path, text, names):
    if names is None:
        with pytest.raises(UserError, match="'note' is none of the pieces"):
            chosen(tmp_path, text)
    else:
        assert chosen(tmp_path, text) == names


def test_all_mistakes_are_reported_with_their_lines(tmp_path):
    with pytest.raises(UserError) as error:
        chosen(tmp_path, "piece,mark\nbach-00000,maybe\nbach-00002,keep\nbach-7,keep\n")
    want = "is none of the pieces, want the name of a .mid file or SEED:SAMPLE"
    assert [problem.partition("kept.csv:")[2] for problem in error.value.problems] == [
        "2: mark is 'maybe', want keep, reject or nothing",
        f"3: 'bach-00002' {want}",
        f"4: 'bach-7' {want}",
    ]


def test_lists_that_cannot_be_used(tmp_path):
    with pytest.raises(UserError, match="does not exist, want a list of pieces"):
        selection.select(str(tmp_path / "none"), LINES)
    with pytest.raises(UserError, match="cannot be read"):
        selection.select(str(tmp_path), LINES)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        selection.select(str(tmp_path / "bytes"), LINES)
    with pytest.raises(UserError, match="selects no piece, want at least one"):
        chosen(tmp_path, "piece,mark\nbach-00000,reject\n")
