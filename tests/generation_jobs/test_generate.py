import dataclasses
import json
import os
import signal
import subprocess
import sys

import pytest

from generation_jobs import generate
from generation_jobs.output import manifest
from generation_jobs.settings.requests import Settings
from job_runtime import command
from tests.generation_jobs.fakes import FakeDecoder, make_bundle
from trainer import box_model, bundle

LIST = '{"id": "a", "num_samples": 3}\n{"id": "b", "top_k": 5}\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a bundle and a seed list, and the fake decoder."""
    bundle.save(str(tmp_path / "bundle"), make_bundle())
    (tmp_path / "seeds.jsonl").write_text(LIST)
    monkeypatch.setattr(generate, "_make_decoder", lambda *_: FakeDecoder())
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*flags: str) -> int:
    """The status of the command; paths are those of `folder` unless a flag says otherwise."""
    bundle = [] if "--bundle" in flags else ["--bundle", "bundle"]
    paths = [*bundle, "--seeds", "seeds.jsonl", "--output", "music"]
    return command.run("generate", generate.main, [*paths, *flags])


def test_a_run_prints_its_counts(folder, capsys):
    assert run("--samples-per-seed", "2", "--max-notes", "10") == 0
    lines = manifest.read("music")
    assert [(line["seed_id"], line["sample"]) for line in lines] == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)]
    notes = sum(line["checks"]["num_notes_generated"] for line in lines)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "5 pieces in music: 5 made, 0 already there"
    assert second.startswith(f"{notes:,} notes generated in ")
    assert run("--samples-per-seed", "2", "--max-notes", "10") == 0
    assert capsys.readouterr().out == "5 pieces in music: 0 made, 5 already there\n"


def test_flags_become_settings_and_seeds_override_them(folder):
    assert run("--temperature", "0.5", "--top-k", "9", "--top-p", "0.75", "--max-seconds", "60", "--rng-seed", "4") == 0
    a, *_, b = manifest.read("music")
    given = {"temperature": 0.5, "top_k": 9, "top_p": 0.75, "max_notes": 300, "max_seconds": 60.0}
    assert a["settings"] == {
        **dataclasses.asdict(Settings(min_p={"pitch": 0.05}, steer_end=True, avoid_loops=True)),
        **given,
    }
    assert b["settings"] == {**a["settings"], "top_k": 5}
    assert a["rng_seed"] == 4
    assert a["bundle"] == make_bundle().hash
    assert a["dataset"] == "d" * 32


def test_settings_are_those_that_calibrate_found_unless_a_flag_or_a_seed_says_them(folder, capsys):
    made = make_bundle()
    sampling = {"copying": 1.3, "temperature": {"pitch": 1.15}, "avoid_loops": False}
    copies = dataclasses.replace(made, config={"attention": "copy"}, metrics={"sampling": sampling})
    bundle.save("bundle", copies)
    (folder / "seeds.jsonl").write_text('{"id": "a"}\n{"id": "b", "copying": 0.5}\n')
    assert run() == run("--output", "more", "--copying", "2", "--temperature", "0.9") == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("the bundle says")]
    assert said == [
        "the bundle says: --copying 1.3 --temperature pitch=1.15 --avoid-loops false",
        "the bundle says: --avoid-loops false",
    ]
    found = [[line["settings"] for line in manifest.read(music)] for music in ("music", "more")]
    assert [[one["copying"] for one in settings] for settings in found] == [[1.3, 0.5], [2.0, 0.5]]
    assert [settings[0]["temperature"] for settings in found] == [{"pitch": 1.15}, 0.9]
    assert [settings[0]["avoid_loops"] for settings in found] == [False, False]
    wrong = {"copying": 9, "loudness": 1}
    bundle.save("bundle", dataclasses.replace(copies, metrics={"sampling": wrong}))
    assert run("--output", "other") == 2
    said = capsys.readouterr().err
    assert "sampling of bundle.json: loudness is not a setting" in said
    assert "sampling of bundle.json: copying is 9.0, want a number, 0 to 4" in said
    bundle.save("bundle", made)
    assert run("--output", "other", "--copying", "2") == 2
    said = capsys.readouterr().err
    assert "--copying is 2, but the model does not copy; want no --copying" in said
    assert "seed 'b' has copying, but the model does not copy; want none in the list" in said


def test_without_a_bundle_and_a_list_the_model_in_the_box_starts_from_silence(folder, capsys):
    line = ["--output", "music", "--samples-per-seed", "2"]
    assert command.run("generate", generate.main, line) == 0
    box = bundle.load_description(box_model.folder())
    first, second, _ = capsys.readouterr().out.splitlines()
    assert first == f"without --bundle: the model in the box, {box['hash']}, see docs/model_card.md"
    assert second == "2 pieces in music: 2 made, 0 already there"
    lines = manifest.read("music")
    assert [(line["seed_id"], line["num_primer_notes"]) for line in lines] == [("piece", 0)] * 2
    assert {(line["bundle"], line["dataset"]) for line in lines} == {(box["hash"], box["dataset"]["hash"])}
    assert command.run("generate", generate.main, [*line, "--bundle", "bundle"]) == 2
    assert "was started with bundle" in capsys.readouterr().err


def test_a_style_is_a_list_that_comes_with_the_model_in_the_box(folder, capsys):
    line = ["--output", "music", "--style", "tunes", "--samples-per-seed", "3"]
    assert command.run("generate", generate.main, line) == 0
    lines = manifest.read("music")
    assert len({line["seed_id"] for line in lines}) == 3 and [line["num_primer_notes"] for line in lines] == [16] * 3
    capsys.readouterr()
    assert command.run("generate", generate.main, [*line, "--seeds", "seeds.jsonl", "--top-k", "0"]) == 2
    errors = capsys.readouterr().err
    assert "--style is tunes and --seeds 'seeds.jsonl'; want one of them" in errors and "top-k" in errors


def test_what_is_missing_is_a_sentence():
    wanted = "--output is missing, want a folder for the music; pieces that already exist are kept"
    assert generate.make_parser().parse([])[1] == [wanted]


def test_no_list_is_a_list_with_one_seed_of_silence(folder):
    assert command.run("generate", generate.main, ["--bundle", "bundle", "--output", "music"]) == 0
    (folder / "seeds.jsonl").write_text('{"id": "piece"}\n')
    assert run("--output", "of_a_list") == 0
    assert manifest.read("music") == manifest.read("of_a_list")
    assert (folder / "music/job.json").read_bytes() == (folder / "of_a_list/job.json").read_bytes()


def test_one_piece_again(folder, capsys):
    assert run() == 0
    capsys.readouterr()
    assert run("--only", "a:2", "--only", "b:0", "--output", "again") == 0
    assert sorted(capsys.readouterr().out.splitlines()) == ["again/midi/a/a-00002.mid", "again/midi/b/b-00000.mid"]
    for name in ("midi/a/a-00002.mid", "midi/b/b-00000.mid"):
        assert (folder / "again" / name).read_bytes() == (folder / "music" / name).read_bytes()
    assert run("--only", "a:3", "--only", "x:0", "--dry-run") == 2
    assert capsys.readouterr().err.splitlines() == [
        "generate: --only is 'a:3', but seed 'a' has samples 0 to 2",
        "generate: --only is 'x:0', but the list has no seed 'x'",
        "generate: --only is given with --dry-run; want one of them",
    ]


def test_tasks_share_the_work(folder, monkeypatch):
    assert run("--num-tasks", "2", "--task-index", "1") == 0
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    assert run("--num-tasks", "2") == 0
    assert len(manifest.read("music")) == 4


def test_every_mistake_is_reported_at_once(folder, capsys):
    (folder / "seeds.jsonl").write_text('{"id": "a", "midi": "none.mid"}\n{"id": "../b"}\n{"id": "c", "top_k": 0}\n')
    status = run(
        *("--temperature", "nan", "--top-k", "0", "--top-p", "2", "--max-notes", "0", "--max-seconds", "-1"),
        *("--samples-per-seed", "0", "--rng-seed", "-1", "--num-slots", "40", "--num-tasks", "2"),
    )
    assert status == 2
    assert capsys.readouterr().err.splitlines() == [
        "generate: --temperature is 'nan', want a number, 0 (greedy) or 0.001 to 1000",
        "generate: --top-k is '0', want a whole number, 1 to 2147483647",
        "generate: --top-p is '2', want a number above 0, at most 1",
        "generate: --max-notes is '0', want a whole number, 1 to 100000",
        "generate: --max-seconds is '-1', want a number above 0, at most 21600",
        "generate: --samples-per-seed is '0', want a whole number, 1 to 1000000",
        f"generate: --rng-seed is '-1', want a whole number, 0 to {2**63 - 1}",
        "generate: --num-slots is '40', want 1, or a multiple of 16, at most 4096",
        "generate: --num-tasks is 2 but there is no --task-index; want both",
        "generate: seeds.jsonl:1: midi 'none.mid' does not exist",
        "generate: seeds.jsonl:2: id is '../b', want 1 to 100 ASCII letters, digits, '-', '_' or '.', "
        "the first neither '-' nor '.': it names files",
        "generate: seeds.jsonl:3: top_k is 0, want a whole number, 1 to 2147483647",
    ]
    assert not (folder / "music").exists()


@pytest.mark.parametrize(
    ("flags", "want"),
    [
        (["--bundle", "nowhere"], "nowhere is not a bundle: no bundle.json"),
        (["--seeds", "nowhere"], "--seeds 'nowhere' does not exist, want a seed list"),
        (["--seeds", "bundle"], "bundle: there is no MIDI file in this folder, want .mid, .midi, .kar, .rmi"),
        (["--output", "seeds.jsonl"], "--output 'seeds.jsonl' is a file, want a folder"),
        (["--output", "seeds.jsonl/a"], "--output 'seeds.jsonl/a' cannot be written: 'seeds.jsonl' is a file"),
        (["--output", "ftp://x"], "--output: 'ftp://x' is on ftp://, want a local path, gs://bucket/name or s3://bucket/name"),
        (["--task-index", "1"], "the task index is 1 but --num-tasks is not given; want both"),
    ],
)  # fmt: skip
def test_each_wrong_path_is_one_sentence(folder, capsys, flags, want):
    assert run(*flags) == 2
    assert capsys.readouterr().err == f"generate: {want}\n"


@pytest.mark.parametrize("seeds", ["seeds.jsonl", "nowhere"])
def test_conflicts_of_the_flags_are_reported_once(folder, capsys, seeds):
    assert run("--min-pitch", "70", "--max-pitch", "60", "--seeds", seeds) == 2
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == "generate: flags: min_pitch, max_pitch and pitch_classes leave no pitch that the model can draw"
    assert rest == ["generate: --seeds 'nowhere' does not exist, want a seed list"] * (seeds == "nowhere")


def test_mistakes_in_a_list_are_reported_even_without_a_bundle(folder, capsys):
    (folder / "seeds.jsonl").write_text("{}")
    assert run("--bundle", "nowhere") == 2
    assert capsys.readouterr().err.splitlines() == [
        "generate: nowhere is not a bundle: no bundle.json",
        "generate: seeds.jsonl:1: there is no 'id'; every seed needs one",
    ]


def test_other_settings_on_the_same_output_are_a_mistake(folder, capsys):
    assert run() == 0
    capsys.readouterr()
    (folder / "seeds.jsonl").write_text(LIST + '{"id": "c"}')
    assert run("--temperature", "0.9") == 2
    seeds, temperature, _num_samples = capsys.readouterr().err.splitlines()
    assert seeds.startswith("generate: --output 'music' was started with seeds '")
    assert temperature == (
        "generate: --output 'music' was started with temperature 1.0, now it is 0.9; want the same, or another --output"
    )


class _Signalled(FakeDecoder):
    """Gets a signal while it decodes the third piece."""

    number = signal.SIGTERM

    def generate(self, requests):
        for done, (index, result) in enumerate(super().generate(requests)):
            if done == 2:
                signal.raise_signal(self.number)
            yield index, result


def test_jobs_of_many_samples_have_more_slots_whatever_the_task(folder, monkeypatch):
    slots = []
    monkeypatch.setattr(generate, "_make_decoder", lambda _, num_slots, __: slots.append(num_slots) or FakeDecoder())
    monkeypatch.setattr(generate, "MANY_SAMPLES", 20)
    for number in (16, 17, 19):
        (folder / "seeds.jsonl").write_text(f'{{"id": "a", "num_samples": {number}, "max_notes": 1}}')
        assert run("--output", f"music-{number}") == 0
    (folder / "seeds.jsonl").write_text('{"id": "a", "num_samples": 20, "max_notes": 1}')
    assert run("--output", "more", "--num-tasks", "3", "--task-index", "2") == 0
    assert run("--output", "told", "--num-slots", "16") == 0
    assert slots == [16, 64, 64, 256, 16]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_with_75_and_the_next_start_continues(folder, capsys, monkeypatch, number):
    decoder = _Signalled()
    decoder.number = number
    monkeypatch.setattr(generate, "_make_decoder", lambda *_: decoder)
    before = signal.getsignal(number)
    assert run("--samples-per-seed", "4") == 75
    assert "interrupted; 2 pieces are whole; start the same command again to continue" in capsys.readouterr().err
    assert signal.getsignal(number) is before
    monkeypatch.setattr(generate, "_make_decoder", lambda *_: FakeDecoder())
    assert run("--samples-per-seed", "4") == 0
    assert capsys.readouterr().out.splitlines()[0] == "7 pieces in music: 5 made, 2 already there"


def test_a_signal_while_the_decoder_is_being_made_ends_with_75(folder, capsys, monkeypatch):
    monkeypatch.setattr(generate, "_make_decoder", lambda *_: signal.raise_signal(signal.SIGTERM))
    assert run() == 75
    assert "start the same command again to continue" in capsys.readouterr().err


HEAVY = """
import sys
from generation_jobs import generate
from job_runtime import command
paths = ["--bundle", "bundle", "--seeds", "seeds.jsonl", "--output", "music"]
for flags in (["--help"], [], [*paths, "--seeds", "bad.jsonl"], [*paths, "--top-p", "7"], paths):
    try:
        status = command.run("generate", generate.main, flags)
    except SystemExit as error:
        status = error.code
    print(status, [name for name in ("tensorflow", "keras", "apache_beam", "tensorflow_io") if name in sys.modules])
"""


def test_help_mistakes_and_a_finished_job_import_nothing_heavy(folder):
    assert run() == 0
    (folder / "bad.jsonl").write_text('{"id": "a", "midi": "none.mid"}')
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True, env=environment, check=True)
    assert [line for line in done.stdout.splitlines() if line.endswith("[]")] == ["0 []", *["2 []"] * 3, "0 []"]
    assert "4 pieces in music: 0 made, 4 already there" in done.stdout


def test_no_id_escapes_the_output_folder(folder):
    """The check of ids keeps paths inside; every valid id gives a plain relative path."""
    ids = ["..", "/etc/x", "a/../../b", "..\\x", "a/b", "\u2025", ".", "~", "%2e%2e", "a..b", "C:x"]
    (folder / "seeds.jsonl").write_text("".join(f"{json.dumps({'id': seed_id})}\n" for seed_id in ids))
    assert run() == 2
    (folder / "seeds.jsonl").write_text('{"id": "a..b"}\n')
    assert run() == 0
    assert (folder / "music/midi/a..b/a..b-00000.mid").is_file()
    assert {path.name for path in folder.iterdir()} == {"bundle", "seeds.jsonl", "music"}


def test_a_dry_run_prints_an_estimate_and_writes_nothing(folder, capsys):
    assert run("--dry-run", "--max-notes", "10") == 0
    first, second, third, fourth = capsys.readouterr().out.splitlines()
    assert first == "dry run, nothing is written: 4 pieces of 2 seeds"
    assert second.startswith("measured on 4 pieces: ")
    assert third.startswith("on this machine the job takes ")
    assert fourth.startswith("all 4 pieces together take about ")
    assert not (folder / "music").exists()
    assert run("--dry-run", "--max-notes", "0") == 2
    assert run("--max-notes", "10") == 0
    capsys.readouterr()
    assert run("--dry-run", "--max-notes", "10") == 0
    assert capsys.readouterr().out.splitlines() == [first, "4 already made, 0 left to make"]
    assert run("--dry-run", "--max-notes", "9") == 2
    assert "was started with max_notes 10, now it is 9" in capsys.readouterr().err


def test_a_list_of_pieces_needs_their_dataset(folder, capsys):
    (folder / "seeds.csv").write_text("id,piece_id\na,0123\nb,\n")
    assert run("--seeds", "seeds.csv") == 2
    assert run("--seeds", "seeds.csv", "--seed-data", "bundle") == 2
    assert capsys.readouterr().err.splitlines() == [
        "generate: seeds.csv:2: piece_id names a piece of a dataset, want --seed-data; seeds that have one: 1",
        "generate: seeds.csv: --seed-data: bundle is not a complete dataset: no dataset_info.json",
    ]


def test_thousands_of_problems_stay_readable(folder, capsys):
    (folder / "seeds.jsonl").write_text("".join(f'{{"id": "s{n}", "top_k": 0}}\n' for n in range(3000)))
    assert run() == 2
    assert capsys.readouterr().err.splitlines() == [
        *(f"generate: seeds.jsonl:{n}: top_k is 0, want a whole number, 1 to 2147483647" for n in (1, 2, 3)),
        "generate: seeds.jsonl: 2,997 more like this, lines 4 to 3000",
        "generate: seeds.jsonl: 3,000 problems of 1 kind in 3,000 lines",
    ]
