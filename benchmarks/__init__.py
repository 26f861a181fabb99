"""Measurements that are run by hand; see docs/benchmarks.md.

`python -m benchmarks.encode` is `benchmarks/speed/encode.py`: commands are found by name in all of these folders.
"""

import pathlib

_FOLDER = pathlib.Path(__file__).parent
__path__ += [str(_FOLDER / name) for name in ("speed", "quality", "correctness")]
