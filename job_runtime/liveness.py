"""Does a process still move? A liveness probe for pods, by the age of the file that `job_runtime.logs.progress` writes.

    python -m job_runtime.liveness --max-age-seconds 900

Status 0 while the file of $PROGRESS_FILE is younger, and before there is one (a start takes as long as it takes); 1
when it is older.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from job_runtime import command
from job_runtime.logs.progress import FILE_VARIABLE

PROGRAM = "python -m job_runtime.liveness"


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("--max-age-seconds", type=float, required=True, help="older than this is stuck")
    args = parser.parse_args(argv)
    path = os.environ.get(FILE_VARIABLE)
    if not path:
        raise command.UserError(f"{FILE_VARIABLE} is not set, want the file that the command of this pod writes")
    try:
        age = time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return command.OK
    if age <= args.max_age_seconds:
        return command.OK
    print(f"{PROGRAM}: no progress for {age:.0f} s, at most {args.max_age_seconds:g} are allowed", file=sys.stderr)
    return command.FAULT


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
