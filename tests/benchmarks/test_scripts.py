"""Each benchmark runs, and its last line has the promised keys."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.harness import machine, peer_process
from benchmarks.harness.machine import ROOT
from benchmarks.harness.rounds import Rate
from benchmarks.speed import distribution, encode, generate, train
from job_runtime.problem_report import UserError

HAS_PEERS = (peer_process.PYTHON.parent.parent / ".installed").exists()
GEMM_OF_PEERS = {"gemm_pytorch_float32", "gemm_pytorch_bfloat16", "gemm_numpy_float32"}
PRECISIONS = ("float32", "bfloat16")


def run_quick(name: str, *, compares: bool = True) -> dict:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert ("make peers" in done.stdout) == (compares and not HAS_PEERS)
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["benchmark"] == name
    assert all(value > 0 for value in report["rates"].values())
    assert {"cpu", "cores", "python", "versions", "peers", "commit"} <= report["machine"].keys()
    assert report["machine"]["matrix_instructions"] in ("none", "AVX512-BF16", "AMX")
    assert report["machine"]["versions"] and bool(report["machine"]["peers"]) == (compares and HAS_PEERS)
    return report


def check(report: dict, *, rates: set[str], peers: set[str], ratios: set[str], peer_ratios: set[str]) -> None:
    assert report["rates"].keys() == rates | (peers if HAS_PEERS else set())
    assert report["ratios"].keys() == ratios | (peer_ratios if HAS_PEERS else set())


@pytest.mark.slow
def test_encode():
    report = run_quick("encode")
    others = {"pretty_midi", "miditok", "symusic_loop"}
    ratios = {f"ours/{name}" for name in others} | {"ours_parse/symusic_loop"}
    rates = {"ours", "ours_beam", "ours_two_slices", "ours_parse"}
    ours = {"ours/ours_beam", "ours_two_slices/ours"}
    check(report, rates=rates, peers=others, ratios=ours, peer_ratios=ratios)
    sizes = {f"{name}_peak_mb_{size}" for name in ("ours", "ours_beam") for size in ("tenth", "all")}
    assert report["figures"].keys() == sizes | {"minutes_of_lakh_on_two_cores", "bytes_a_note_corpus"}
    assert report["of_limit"] == {}


@pytest.mark.slow
def test_train():
    report = run_quick("train")
    steps = {f"{{}}_{precision}{more}" for precision in PRECISIONS for more in ("", "_adam")}
    ours, theirs = ({step.format(name) for step in steps} for name in ("ours", "pytorch"))
    products = {"product_float32", "product_bfloat16", "gemm_tensorflow_float32", "gemm_tensorflow_bfloat16"}
    best = {"pytorch_best", "pytorch_best_adam"}
    pairs = {f"{mine}/{mine.replace('ours', 'pytorch')}" for mine in ours}
    pairs |= {"ours/pytorch_best", "ours_adam/pytorch_best_adam", "product/pytorch_best_adam"}
    check(
        report,
        rates=ours | {"ours", "ours_adam", "product", "keras", "keras_adam"} | products,
        peers=theirs | best | GEMM_OF_PEERS,
        ratios={"ours_float32/keras", "ours_float32_adam/keras_adam", "ours_bfloat16/ours_float32"},
        peer_ratios=pairs | {f"product_{precision}/pytorch_{precision}_adam" for precision in PRECISIONS},
    )
    peers = {"pytorch_float32", "pytorch_bfloat16"} if HAS_PEERS else set()
    assert report["of_limit"].keys() == {"ours_float32", "ours_bfloat16", "keras"} | peers


@pytest.mark.slow
def test_generate():
    report = run_quick("generate")
    products = {f"gemm_tensorflow_{precision}" for precision in PRECISIONS}
    ours, theirs, ratios, peer_ratios = (
        {form.format(precision, batch) for precision in PRECISIONS for batch in ("b1", "b16")}
        for form in (
            "ours_{}@{}", "pytorch_{}@{}", "ours_bfloat16/ours_float32@{1}", "ours_{0}/pytorch_{0}@{1}",
        )
    )  # fmt: skip
    check(
        report,
        rates=ours | {"ours@b1", "ours@b16", "ours_one_layer_of_128@b16", "predict_loop"} | products,
        peers=theirs | {"pytorch_best@b1", "pytorch_best@b16"} | GEMM_OF_PEERS,
        ratios=ratios | {"ours_one_layer_of_128@b16/predict_loop", "ours@b16/predict_loop"},
        peer_ratios=peer_ratios | {"ours/pytorch_best@b1", "ours/pytorch_best@b16"},
    )
    assert report["of_limit"].keys() == ours


@pytest.mark.slow
def test_feed():
    report = run_quick("feed", compares=False)
    assert report["of_limit"] == {}
    assert report["rates"].keys() == {"feed", "feed_plain", "feed_half", "plan", "load", "step"}
    assert report["ratios"].keys() == {"feed/step", "feed_plain/step", "feed_half/feed"}
    assert report["figures"].keys() == {"padding_percent_made", "waited_percent_of_steps"}
    assert all(0 <= value < 100 for value in report["figures"].values())


@pytest.mark.slow
def test_distribution():
    report = run_quick("distribution", compares=False)
    assert report["of_limit"] == {}
    others = {"two_devices", "four_devices", "two_processes"}
    assert report["rates"].keys() == {f"{name}@small" for name in {"one_device"} | others}
    assert report["ratios"].keys() == {f"{name}/one_device@small" for name in others}
    assert report["figures"].keys() == {f"milliseconds_more_a_step_{name}@small" for name in others}


def test_what_distribution_costs_a_step():
    rates = {"one_device@a": Rate(100.0, 0, 0, 0), "two@a": Rate(80.0, 0, 0, 0)}
    found = distribution.costs(rates, {"batch": 10, "time": 4}, "a", ["two"])
    assert found == {"milliseconds_more_a_step_two@a": pytest.approx(100)}


@pytest.mark.parametrize("benchmark_main", [encode.main, train.main, generate.main])
def test_without_peers_a_real_run_says_how_to_get_them(benchmark_main, monkeypatch, tmp_path):
    monkeypatch.setattr(peer_process, "PYTHON", tmp_path / "bin" / "python")
    with pytest.raises(UserError, match="make peers"):
        benchmark_main([])


def test_encode_names_a_folder_without_midi(tmp_path):
    with pytest.raises(UserError, match="holds no MIDI file"):
        encode.list_files([tmp_path])


def test_flops_of_a_note_of_the_train_stack():
    # two products of [512] by [512, 2048] a layer, two FLOPs a weight, three times for forward and backward
    assert train.flops_of_a_note({"units": 512, "layers": 2}) == 3 * 2 * 2 * 2 * 512 * 2048


def test_each_side_is_compared_in_its_better_precision():
    rates = {name: Rate(rate, rate, rate, 0) for name, rate in (
        ("ours_float32@b1", 3.0), ("ours_bfloat16@b1", 2.0), ("pytorch_float32@b1", 1.0), ("pytorch_bfloat16@b1", 4.0),
    )}  # fmt: skip
    assert {name: rate.median for name, rate in generate.better_precisions(rates, [1])} == {
        "ours@b1": 3.0,
        "pytorch_best@b1": 4.0,
    }


@pytest.mark.parametrize(
    ("flags", "instructions"),
    [("fpu avx512_bf16 amx_bf16", "AMX"), ("fpu avx512_bf16", "AVX512-BF16"), ("fpu avx512f", "none"), ("", "none")],
)
def test_matrix_instructions_by_the_flags_of_a_processor(flags, instructions):
    assert machine.matrix_instructions(flags) == instructions
