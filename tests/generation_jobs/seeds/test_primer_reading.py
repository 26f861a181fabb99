"""Files of primers are read as the corpus was: limits, salvage, policies."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generation_jobs.seeds import primers
from generation_jobs.seeds.primer_reading import PrimerFile, Reading
from generation_jobs.seeds.seed_record import Seed
from job_runtime.problem_report import UserError
from midi_codec.cleaning.cleaning_rules import CleaningRules
from midi_codec.midi import midi_writer
from midi_codec.midi.midi_header import Limits
from midi_codec.music.notes import MILLISECONDS, Notes
from tests.generation_jobs.fakes import make_bundle

NOTES = Notes.from_columns(
    pitch=np.array([60, 60, 36, 62]),
    velocity=np.array([80, 90, 100, 70]),
    start=np.array([0, 0, 0, 500]),
    duration=np.array([400, 300, 100, 250]),
    program=np.array([4, 6, 128, 73]),
)
DATA = midi_writer.serialize(NOTES)


def read(data: bytes = DATA, track: int | str | None = None, **rules: Any) -> PrimerFile:
    found = Reading(MILLISECONDS, cleaning=CleaningRules(**rules)).parse("a.mid", data, track)
    assert isinstance(found, PrimerFile)
    return found


def test_without_policies_files_are_read_unchanged():
    found = read()
    assert (found.notes, found.salvaged, found.remark) == (NOTES, None, "")


@pytest.mark.parametrize(
    ("rules", "programs", "pitches"),
    [
        ({"drum_policy": "drop"}, [4, 6, 73], [60, 60, 62]),
        ({"drum_policy": "only"}, [128], [36]),
        ({"programs": (0, 4)}, [128, 4], [36, 60]),
        ({"program_policy": "family"}, [128, 0, 72], [36, 60, 62]),
        ({"program_policy": "merge", "drum_policy": "drop"}, [0, 0], [60, 62]),
    ],
)
def test_policies_of_the_corpus(rules, programs, pitches):
    found = read(**rules)
    assert (found.notes.program.tolist(), found.notes.pitch.tolist()) == (programs, pitches)
    assert found.salvaged is None and f"{4 - len(programs)} of 4 notes left out" in found.remark


def test_changes_are_reported():
    assert read(program_policy="merge", drum_policy="drop").remark == (
        "midi 'a.mid': read as the corpus was (--drum-policy drop --program-policy merge), 2 of 4 notes left out"
    )
    left = Reading(MILLISECONDS, cleaning=CleaningRules(programs=(9,), drum_policy="drop")).parse("a.mid", DATA, None)
    assert left == "midi 'a.mid': none of its 4 notes is left, read as the corpus was (--drum-policy drop --programs 9)"
    assert read(min_notes=100).remark == ""


def with_pedal() -> bytes:
    """The file with a pedal that is down from tick 0 to 1,400 on the channel of program 4."""
    track = DATA.rindex(b"MTrk", 0, DATA.index(b"\xc0\x04"))
    stop = track + 8 + int.from_bytes(DATA[track + 4 : track + 8], "big")
    events = DATA[track + 8 : stop - 4].replace(b"\xc0\x04", b"\xc0\x04\x00\xb0\x40\x7f") + b"\x87\x68\xb0\x40\x00"
    events += DATA[stop - 4 : stop]
    return DATA[: track + 4] + len(events).to_bytes(4, "big") + events + DATA[stop:]


def test_the_sustain_pedal_of_the_corpus():
    for track in (None, 1):
        held, plain = (read(with_pedal(), track, sustain_pedal=policy).notes for policy in ("apply", "ignore"))
        assert held.duration[held.program == 4].tolist() == [1400]
        assert plain.duration[plain.program == 4].tolist() == [400]


def test_limits_of_the_corpus(tmp_path):
    (tmp_path / "a.mid").write_bytes(DATA)
    path, size = str(tmp_path / "a.mid"), len(DATA)
    assert Reading(MILLISECONDS, limits=Limits(max_bytes=size)).load(path) == DATA
    assert Reading(MILLISECONDS, limits=Limits(max_bytes=size - 1)).load(path) == (
        f"midi {path!r} has more than {size - 1} bytes, which is the limit that the corpus was read with"
    )
    few = Reading(MILLISECONDS, limits=Limits(max_notes=3)).parse("a.mid", DATA, None)
    assert isinstance(few, str) and few.startswith("midi 'a.mid' cannot be used: ")


def salvaged_files(folder: Path) -> None:
    (folder / "good.mid").write_bytes(DATA)
    (folder / "loud.mid").write_bytes(DATA.replace(b"\x90\x3c\x50", b"\x90\x3c\xff"))
    (folder / "wrapped.rmi").write_bytes(b"RIFF\0\0\0\0RMIDdata\0\0\0\0" + DATA)
    (folder / "cut.mid").write_bytes(DATA[:-9])


def test_every_salvage_is_named(tmp_path):
    salvaged_files(tmp_path)
    names = ["cut.mid", "good.mid", "loud.mid", "wrapped.rmi", "loud.mid"]
    seeds = [Seed(id=str(line), line=line, midi=name) for line, name in enumerate(names, 1)]
    table = make_bundle(programs=(4, 6, 73, 128)).fields
    loaded, problems = primers.load(seeds, folder=str(tmp_path), table=table)
    assert problems == []
    assert loaded.salvaged == {0: "repaired", 2: "clamped", 3: "unwrapped", 4: "clamped"}
    assert list(loaded.remarks) == [
        (1, f"midi '{tmp_path}/cut.mid': salvaged (repaired)"),
        (3, f"midi '{tmp_path}/loud.mid': salvaged (clamped)"),
        (4, f"midi '{tmp_path}/wrapped.rmi': salvaged (unwrapped)"),
    ]
    assert loaded[1] == loaded[3] == NOTES
    assert loaded[2] is not None and loaded[2].velocity.max() == 127


def test_the_bundle_says_how_its_corpus_was_read():
    bundle = make_bundle()
    assert Reading.of_bundle(bundle) == Reading(MILLISECONDS)
    said = {"limits": {"max_notes": 7, "of_tomorrow": 1}, "cleaning": {"programs": [0, 4], "other_programs": "drop"}}
    reading = Reading.of_bundle(dataclasses.replace(bundle, dataset={**bundle.dataset, **said}))
    assert reading == Reading(MILLISECONDS, Limits(max_notes=7), CleaningRules(programs=(0, 4)))
    in_cleaning, in_limits = [{"drum_policy": "often"}, {"x": 1}, 3], [{"max_notes": -1}, 7]
    for one in [*({"cleaning": value} for value in in_cleaning), *({"limits": value} for value in in_limits)]:
        with pytest.raises(UserError, match="the bundle does not say how its corpus was read"):
            Reading.of_bundle(dataclasses.replace(bundle, dataset={**bundle.dataset, **one}))


def test_programs_that_settings_map(tmp_path):
    salvaged_files(tmp_path)
    table = make_bundle(programs=(0, 73)).fields
    seeds = [
        Seed(id="usual", line=1, midi="good.mid"),
        Seed(id="own", line=2, midi="good.mid", overrides={"map_programs": "4:73,6:0,128:drop"}),
        Seed(id="none", line=3, midi="good.mid", overrides={"map_programs": None}),
    ]
    loaded, problems = primers.load(seeds, folder=str(tmp_path), table=table, map_programs="nearest,128:drop")
    assert [line for line, _ in problems] == [3]
    assert "program 4, 6, 128 does not occur" in problems[0][1] and "--map-programs 4:0,6:0,128:drop" in problems[0][1]
    usual, own = loaded[0], loaded[1]
    assert usual is not None and own is not None
    assert (usual.program.tolist(), usual.duration.tolist(), usual.velocity.tolist()) == ([0, 73], [400, 250], [90, 70])
    assert own.program.tolist() == [0, 73, 73]
