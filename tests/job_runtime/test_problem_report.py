from job_runtime import problem_report
from job_runtime.problem_report import MAX_PROBLEMS, first_few, locate, sentences


def test_a_location_names_file_and_line():
    assert locate("a/s.jsonl", (3, "wrong")) == "a/s.jsonl:3: wrong"
    assert locate("a/s.jsonl", (0, "wrong")) == "a/s.jsonl: wrong"


def test_a_sentence_longer_than_anyone_reads_loses_its_middle():
    text = locate("s", (1, f"id is {'x' * 10**6!r}, want less"))
    assert len(text) == len("s:1: ") + problem_report.MAX_CHARACTERS + len(" ... ")
    assert text.startswith("s:1: id is 'xxx")
    assert text.endswith("xxx', want less")


def test_few_problems_are_said_one_by_one():
    problems = [(line, f"top_k is {line}") for line in range(MAX_PROBLEMS)]
    assert sentences("s", problems) == [locate("s", problem) for problem in problems]


def test_of_many_problems_each_kind_is_said():
    problems = [(line, f"top_k is -{line}, want more") for line in range(2, 102)]
    problems += [(7, "midi 'it\\'s.mid' does not exist"), (9, "midi 'b 2.mid' does not exist")]
    problems += [(line, f'id is "{line}"') for line in (200, 202, 203, 204, 206)]
    assert sentences("s.csv", sorted(problems)) == [
        "s.csv:2: top_k is -2, want more",
        "s.csv:3: top_k is -3, want more",
        "s.csv:4: top_k is -4, want more",
        "s.csv: 97 more like this, lines 5 to 101",
        "s.csv:7: midi 'it\\'s.mid' does not exist",
        "s.csv:9: midi 'b 2.mid' does not exist",
        's.csv:200: id is "200"',
        's.csv:202: id is "202"',
        's.csv:203: id is "203"',
        "s.csv: 2 more like this, lines 204, 206",
        "s.csv: 107 problems of 3 kinds in 105 lines",
    ]


def test_lines_with_many_gaps_are_cut_short():
    problems = [(2 * line, f"top_k is {line}") for line in range(1, 200)]
    *_, more, total = sentences("s", problems)
    assert more == "s: 196 more like this, lines 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, ... up to 398"
    assert total == "s: 199 problems of 1 kind in 199 lines"


def test_problems_of_no_line_name_none():
    problems = [(0, f"'{name}.mid' is damaged") for name in range(110)] + [(0, "'x' is empty")]
    first = [f"out: '{name}.mid' is damaged" for name in range(3)]
    assert sentences("out", problems) == [
        *first,
        "out: 107 more like this",
        "out: 'x' is empty",
        "out: 111 problems of 2 kinds",
    ]


def test_even_kinds_without_number_stay_readable():
    words = [chr(97 + first) + chr(97 + second) for first in range(12) for second in range(12)]
    said = sentences("s", [(line, f"not {word}") for line, word in enumerate(words, 1)])
    assert len(said) == problem_report.MAX_KINDS + 1
    assert said[-1] == "s: 144 problems of 144 kinds in 144 lines; only the first 30 kinds are shown"


def test_the_first_few_values_and_how_many_follow():
    assert first_few([3, 1, 2, 5, 4]) == "3, 1, 2, 5, 4"
    assert first_few(range(8)) == "0, 1, 2, 3, 4 and 3 more"
