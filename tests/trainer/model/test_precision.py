import pathlib

import pytest

from trainer.model import precision


@pytest.mark.parametrize(
    ("flags", "fastest", "of_bfloat16"),
    [
        ("flags : fpu amx_bf16 amx_tile\n", "bfloat16", ", which this processor multiplies in hardware"),
        (
            "vendor_id : AuthenticAMD\nflags : fpu avx512_bf16\n",
            "bfloat16",
            ", which this processor multiplies in hardware",
        ),
        (
            "vendor_id : GenuineIntel\nflags : fpu avx512_bf16\n",
            "float32",
            ", which this processor does not multiply in hardware: expect less speed than in float32",
        ),
    ],
)
def test_tiles_and_amds_pairs_are_faster(tmp_path, monkeypatch, flags, fastest, of_bfloat16):
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(precision.pathlib, "Path", lambda path: pathlib.PosixPath(tmp_path / "cpuinfo"))
    precision.multiplies_bfloat16.cache_clear()
    try:
        assert precision.fastest() == fastest
        assert precision.describe("bfloat16") == f"precision: bfloat16{of_bfloat16}"
        assert precision.describe("float32") == "precision: float32"
    finally:
        precision.multiplies_bfloat16.cache_clear()
