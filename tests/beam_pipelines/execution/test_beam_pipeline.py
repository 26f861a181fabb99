"""The Beam pipeline gives what a run without an engine gives, and counts as it goes."""

import apache_beam as beam
import pytest
from apache_beam.transforms.display import DisplayData

from beam_pipelines import encode_corpus, settings_from_flags
from beam_pipelines.corpus import inputs
from beam_pipelines.execution import beam_decide, beam_options, beam_pipeline, encode_job
from beam_pipelines.output import output_folder
from midi_codec.dataset import dataset_info
from tests.beam_pipelines.corpora import MIXED, make_midi, write_files
from tests.beam_pipelines.test_encode_corpus import encode, files_of

NEAR = {f"near/{number}.mid": make_midi(number % 3, num_notes=200, transpose=number) for number in range(9)}


@pytest.fixture
def music(tmp_path) -> str:
    return write_files(tmp_path / "music", {**MIXED, **NEAR})


FLAGS = ("--num-shards", "3", "--split-percents", "60,20,20")


@pytest.mark.parametrize("near", ["group", "drop", "keep"])
def test_the_same_bytes_as_without_an_engine(music, tmp_path, near, monkeypatch):
    """In 5 ranges of piece_ids."""
    monkeypatch.setattr(beam_decide, "IDS_PER_RANGE", 4)
    flags = ("--input", music, *FLAGS, "--near-duplicates", near, "--label-regex", "(?P<number>[0-9]+)")
    assert encode(*flags, "--output", str(tmp_path / "plain")) == 0
    assert encode(*flags, "--output", str(tmp_path / "beam"), "--runner=FnApiRunner") == 0
    assert files_of(tmp_path / "beam") == files_of(tmp_path / "plain")
    info = dataset_info.load(str(tmp_path / "plain"))
    assert (info.groups["pieces"], info.duplicates["near"]) == {"group": (9, 0), "drop": (0, 6), "keep": (0, 0)}[near]


@pytest.mark.slow
def test_paths_tie_newcomers_to_older_pieces_and_empty_splits_are_filled_as_without_an_engine(tmp_path, monkeypatch):
    monkeypatch.setattr(beam_decide, "IDS_PER_RANGE", 3)
    flags = (*FLAGS[:2], "--split-percents", "98,1,1", "--group-regex", "^([a-z]+)[0-9]/")
    old = {"a0/1.mid": make_midi(1), "a1/copy.mid": make_midi(1), "b0/2.mid": make_midi(2), "c0/3.mid": make_midi(3)}
    old |= {"a3/near.mid": NEAR["near/3.mid"], "d0/again.mid": make_midi(2)}
    folder = write_files(tmp_path / "music", old)
    for output, runner in (("plain", ()), ("beam", ("--runner=FnApiRunner",))):
        assert encode("--input", folder, "--output", str(tmp_path / output), *flags, *runner) == 0
    assert files_of(tmp_path / "beam") == files_of(tmp_path / "plain")
    assert sorted(dataset_info.load(str(tmp_path / "beam")).moved_groups.values()) == ["test", "validation"]
    new = {
        "a7/4.mid": make_midi(4),
        "d1/5.mid": make_midi(5),
        "e/6.mid": make_midi(6),
        "f/near.mid": NEAR["near/6.mid"],
    }
    write_files(tmp_path / "music", new)
    for output, runner in (("plain2", ()), ("beam2", ("--runner=FnApiRunner",))):
        older = ("--add-to", str(tmp_path / "plain"))
        assert encode("--input", folder, "--output", str(tmp_path / output), *older, *flags, *runner) == 0
    assert files_of(tmp_path / "beam2") == files_of(tmp_path / "plain2")
    info = dataset_info.load(str(tmp_path / "beam2"))
    assert (info.examples, info.groups) == (8, {"groups": 2, "pieces": 6, "largest": 4, "in_several_splits": 0})


def make_pipeline(music: str, output: str, *flags: str) -> beam.Pipeline:
    flags = ("--input", music, "--output", output, "--time-base", "milliseconds", *flags)
    args = encode_corpus.make_parser().parse_args(flags)
    found = inputs.find(args.input, output=args.output, work_folder=output_folder.work_folder(args.output))
    settings = settings_from_flags.make_settings(args, found, [])
    assert settings is not None
    pipeline = beam.Pipeline(options=beam_options.make_options([]))
    job = encode_job.make_job(found, settings, args.output)
    beam_pipeline.build(pipeline, job, encode_job.list_work_items(found, settings))
    return pipeline


def test_the_graph_reads_as_the_steps_of_an_encode(music, tmp_path):
    pipeline = make_pipeline(music, str(tmp_path / "d"), *FLAGS)
    steps = {step.full_label: step for step in pipeline.transforms_stack[0].parts}
    assert list(steps) == ["List", "ReadParseClean", "DedupeGroupAssign", "AllRejects", "Tied", "Write"]
    outputs = {name: {*step.outputs} for name, step in steps.items()}
    sides = {"rejects", "salvaged", "retried"}
    assert outputs["ReadParseClean"] == {"heads", "fingerprints", "contents", "totals", *sides}
    assert outputs["DedupeGroupAssign"] == {"examples", "duplicates", "rejects", "summary"}
    shown = {name: DisplayData.create_from(step.transform).items for name, step in steps.items()}
    values = {(name, item.key): item.value for name, items in shown.items() for item in items}
    assert values["List", "inputs"] == 17
    assert values["ReadParseClean", "time_base"] == "milliseconds"
    assert values["DedupeGroupAssign", "near_duplicates"] == "group"
    assert values["Write", "shards_per_split"] == 3


def test_counters_agree_with_the_dataset(music, tmp_path):
    pipeline = make_pipeline(music, str(tmp_path / "d"))
    counters = pipeline.run().metrics().query()["counters"]
    assert {c.key.metric.name: c.committed for c in counters if c.key.metric.namespace == "encode_corpus"} == {
        "inputs": 17,
        "parsed": 14,
        "notes": 5 * 24 + 9 * 200,
        "rejected": 3,
        "rejected_empty": 1,
        "rejected_no_header": 2,
    }


def test_an_unknown_flag_and_two_ways_to_share(music, tmp_path):
    flags = ("--input", music, "--output", str(tmp_path / "d"), "--task-index", "0", "--num-tasks", "2")
    with pytest.raises(encode_corpus.UserError) as error:
        encode(*flags, "--runner=FnApiRunner", "--flying")
    assert error.value.problems == [
        "--num-tasks and Beam's --runner are both given, want one way to share",
        "unknown flag --flying: neither this command nor Apache Beam has it",
    ]
