import argparse

import pytest

from job_runtime.command_line import settings
from midi_codec.cleaning.cleaning_rules import CleaningRules


def rules_of(*flags: str) -> tuple[CleaningRules, list[str]]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    settings.add_flags(parser, CleaningRules)
    problems: list[str] = []
    return CleaningRules(**settings.read_flags(CleaningRules, parser.parse_args(list(flags)), problems)), problems


def test_without_flags_everything_is_off():
    rules, problems = rules_of()
    assert (rules, problems, rules.is_off, rules.to_dict()) == (CleaningRules(), [], True, {})


def test_every_flag_arrives():
    rules, problems = rules_of(
        *("--min-notes", "10", "--min-seconds", "2.5", "--min-density", "0.5", "--max-density", "40"),
        *("--max-silence", "0", "--max-polyphony", "32", "--pitch-range", "21-108", "--programs", "24,0-2,1"),
        *("--other-programs", "reject", "--drum-policy", "drop", "--program-policy", "family"),
        *("--sustain-pedal", "apply"),
    )
    assert problems == []
    assert rules.to_dict() == {
        "min_notes": 10,
        "min_seconds": 2.5,
        "min_density": 0.5,
        "max_density": 40.0,
        "max_silence": 0.0,
        "max_polyphony": 32,
        "pitch_range": [21, 108],
        "programs": [0, 1, 2, 24],
        "other_programs": "reject",
        "drum_policy": "drop",
        "program_policy": "family",
        "sustain_pedal": "apply",
    }
    assert CleaningRules.from_dict(rules.to_dict()) == rules
    assert rules.apply_sustain


def test_the_pedal_alone_lets_pieces_pass_unlooked_at():
    rules, _ = rules_of("--sustain-pedal", "apply")
    assert (rules.is_off, rules.to_dict()) == (True, {"sustain_pedal": "apply"})


def test_the_policy_of_other_programs_is_kept_with_a_list_only():
    assert CleaningRules(programs=(0,)).to_dict() == {"programs": [0], "other_programs": "drop"}
    assert CleaningRules(other_programs="reject").to_dict() == {}


@pytest.mark.parametrize("text", ["", "5-3", "a", "0,", "1-2-3", "0-200"])
def test_a_bad_list_of_programs(text):
    _, problems = rules_of(f"--programs={text}")
    assert problems == [f"--programs is {text!r}, want numbers and ranges from 0 to 127, such as 0-7,24"]


def test_rules_check_themselves():
    with pytest.raises(ValueError, match="drum_policy is 'x'") as got:
        CleaningRules(max_polyphony=0, drum_policy="x", pitch_range=(5, 200), programs=())
    assert str(got.value).splitlines() == [
        "max_polyphony is 0, want a whole number, 1 or more",
        "pitch_range is (5, 200), want LOW-HIGH between 0 and 127, such as 21-108",
        "programs is (), want numbers and ranges from 0 to 127, such as 0-7,24",
        "drum_policy is 'x', want keep, drop, only or reject",
    ]
