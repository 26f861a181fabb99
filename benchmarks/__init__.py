"""Measured by hand; see docs/benchmarks.md.

`python -m benchmarks.encode` is `benchmarks/speed/encode.py`: commands are found by their own name in every folder
here.
"""

import pathlib

_FOLDER = pathlib.Path(__file__).parent
__path__ += [str(_FOLDER / name) for name in ("speed", "quality", "correctness")]
