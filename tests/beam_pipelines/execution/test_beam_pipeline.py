"""The Beam pipeline gives what a run without an engine gives, and counts as it goes."""

import apache_beam as beam
import pytest
from apache_beam.transforms.display import DisplayData

from beam_pipelines import encode_corpus, settings_from_flags
from beam_pipelines.corpus import inputs
from beam_pipelines.execution import beam_options, beam_pipeline, encode_job
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
def test_the_same_bytes_as_without_an_engine(music, tmp_path, near):
    flags = ("--input", music, *FLAGS, "--near-duplicates", near, "--label-regex", "(?P<number>[0-9]+)")
    assert encode(*flags, "--output", str(tmp_path / "plain")) == 0
    assert encode(*flags, "--output", str(tmp_path / "beam"), "--runner=FnApiRunner") == 0
    assert files_of(tmp_path / "beam") == files_of(tmp_path / "plain")
    info = dataset_info.load(str(tmp_path / "plain"))
    assert (info.groups["pieces"], info.duplicates["near"]) == {"group": (9, 0), "drop": (0, 6), "keep": (0, 0)}[near]


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
    outputs = {name: {*step.outputs} - {None} for name, step in steps.items()}  # None: `parts`, and `examples`
    assert outputs["ReadParseClean"] == {"fingerprints", "rejects", "salvaged", "retried"}
    assert outputs["DedupeGroupAssign"] == {"duplicates", "rejects", "summary"}
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
