"""Mistakes in flags: all of them at once, in the form of every other mistake."""

import pytest

from job_runtime import command
from job_runtime.command_line import flags, numerals
from job_runtime.problem_report import UserError


def make_parser() -> flags.Parser:
    parser = command.make_parser("demo", "Shows flags.")
    parser.add_argument("--data", required=True, help="a folder")
    parser.add_argument("--units", type=int, default=16)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--mode", choices=["a", "b"], default="a")
    parser.add_argument("--fast", action="store_true")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--left", action="store_true")
    either.add_argument("--right", action="store_true")
    return parser


def test_what_is_right():
    args, problems = make_parser().parse(["--data", "x", "--units=-3", "--rate", "1e-3", "--fast"])
    assert problems == []
    assert (args.data, args.units, args.rate, args.mode, args.fast) == ("x", -3, 0.001, "a", True)


def test_all_mistakes_come_at_once_and_the_rest_is_read():
    argv = [
        "--unitz",
        "5",
        "--units",
        "\uff13",
        "--rate=x",
        "--mode",
        "c",
        "--left",
        "--right",
        "y",
        "--fast",
        "--data",
    ]
    args, problems = make_parser().parse(argv)
    assert problems == [
        "--right is not allowed with argument --left",
        "--data is given without a value",
        "--units is '\uff13', want a whole number",
        "--rate is 'x', want a number",
        "--mode is 'c', want one of a, b",
        "--unitz is not known, did you mean --units?",
        "'y' is given without a flag",
    ]
    assert (args.units, args.rate, args.mode, args.fast, args.left) == (16, None, "a", True, True)
    with pytest.raises(UserError) as error:
        make_parser().parse_args(argv)
    assert error.value.problems == problems


def test_help_shows_what_is_required(capsys):
    with pytest.raises(SystemExit) as end:
        make_parser().parse(["--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage: demo --data DATA [options]\n\nShows flags.\n")


def test_groups_come_after_what_most_people_need(capsys):
    parser = make_parser()
    flags.group_of(parser, "speed", "none is needed").add_argument("--num-slots", type=int, help="slots")
    flags.group_of(parser, "").add_argument("--seeds", help="a list")
    flags.group_of(parser, "speed").add_argument("--num-threads", type=int, help="threads")
    with pytest.raises(SystemExit):
        parser.parse(["--help"])
    first, _, speed = capsys.readouterr().out.partition("\nspeed:\n")
    assert "--seeds SEEDS" in first and "--data DATA" in first
    assert [line.split()[:2] for line in speed.splitlines() if line][:2] == [
        ["none", "is"],
        ["--num-slots", "NUM_SLOTS"],
    ]
    assert speed.index("--num-slots") < speed.index("--num-threads")


def test_another_name_for_a_command(monkeypatch):
    monkeypatch.setattr(command, "_aliases", {})
    command.add_alias("python -m demo", "demo")
    parser = command.make_parser("python -m demo", "Shows.\n\n    python -m demo --fast")
    assert (parser.prog, parser.description) == ("demo", "Shows.\n\n    demo --fast")


def test_what_is_missing_is_named_with_its_help():
    assert make_parser().parse([])[1] == ["--data is missing, want a folder"]


def test_mistakes_in_the_flags_of_a_subcommand_come_at_once():
    parser = command.make_parser("demo", "Shows flags.")
    action = parser.add_subparsers(dest="action", required=True).add_parser("train")
    action.add_argument("--units", type=int)
    action.add_argument("--mode", choices=["a", "b"], default="a")
    action.add_argument("--output", required=True, help="a folder")
    assert parser.parse_args(["train", "--output", "x", "--units", "3"]).units == 3
    with pytest.raises(UserError) as error:
        parser.parse_args(["train", "--units", "x", "--mode", "c"])
    assert error.value.problems == [
        "--units is 'x', want a whole number",
        "--mode is 'c', want one of a, b",
        "--output is missing, want a folder",
    ]


def test_flags_of_others_can_be_handed_on():
    args, unknown, problems = make_parser().parse_with_unknown(["--runner", "x", "--units", "two"])
    assert unknown == ["--runner", "x"]
    assert problems == ["--units is 'two', want a whole number", "--data is missing, want a folder"]
    assert args.units == 16


@pytest.mark.parametrize("text", ["\uff13", "\u0663", "1_000", "", "3.0", "0x10", "\u00b2", "9" * 20, "9" * 5000])
def test_what_is_no_whole_number(text):
    with pytest.raises(ValueError, match="want a whole number"):
        numerals.whole(text)
    assert not numerals.is_index(text)


@pytest.mark.parametrize("text", ["infinity", "\uff13.5", "1_0.5", "", ".", "1e", "0x1p3"])
def test_what_is_no_number(text):
    with pytest.raises(ValueError, match="want a number"):
        numerals.number(text)


def test_numbers():
    assert [numerals.whole(text) for text in ("0", "-7", "+7", " 12 ", str(2**63 - 1))] == [0, -7, 7, 12, 2**63 - 1]
    assert [numerals.number(text) for text in ("0", "-1.5", ".5", "2.", "1e3", "+1E-2")] == [
        0,
        -1.5,
        0.5,
        2,
        1000,
        0.01,
    ]
    assert numerals.is_index("07") and not numerals.is_index("-1")
    sizes = [numerals.sized(size) for size in (0, 999, 1260, 1_258_005, 4e13)]
    assert sizes == ["0 B", "999 B", "1.26 kB", "1.26 MB", "40,000.0 GB"]
    assert [numerals.counted(number, "group") for number in (0, 1, 2000)] == ["0 groups", "1 group", "2,000 groups"]


def test_a_completion_index_is_written_in_plain_digits(monkeypatch):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "\uff11")
    parser = command.make_parser("demo", None)
    command.add_task_flags(parser)
    with pytest.raises(UserError, match="JOB_COMPLETION_INDEX is '\uff11', want a whole number from 0"):
        command.task_share(parser.parse_args(["--num-tasks", "2"]))


def test_the_only_choice_is_named_alone():
    parser = command.make_parser("demo", "Shows flags.")
    parser.add_argument("--style", choices=["tunes"])
    assert parser.parse(["--style", "tune"])[1] == ["--style is 'tune', want tunes"]
