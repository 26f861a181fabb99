"""The precision of a model's products. Plain data: importing this imports no TensorFlow."""

from __future__ import annotations

import functools
import pathlib

FLOAT32, BFLOAT16, AUTO = "float32", "bfloat16", "auto"
PRECISIONS = (FLOAT32, BFLOAT16)
CHOICES = (*PRECISIONS, AUTO)
TILES = "amx_bf16"  # Linux's name for instructions that multiply tiles of bfloat16 (AMX)
PAIRS, AMD = "avx512_bf16", "AuthenticAMD"  # those for pairs are twice as fast as float32's on AMD's processors only


@functools.cache
def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32, according to Linux."""
    description = pathlib.Path("/proc/cpuinfo")
    words = description.read_text(encoding="utf-8").split() if description.exists() else []
    return TILES in words or PAIRS in words and AMD in words


def fastest() -> str:
    """The precision that is faster on this processor."""
    return BFLOAT16 if multiplies_bfloat16() else FLOAT32


def describe(precision: str) -> str:
    """One line for the log."""
    if precision == FLOAT32:
        return "precision: float32"
    if multiplies_bfloat16():
        return "precision: bfloat16, which this processor multiplies in hardware"
    return "precision: bfloat16, which this processor does not multiply in hardware: expect less speed than in float32"
