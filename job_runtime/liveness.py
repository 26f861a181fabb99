"""Is a process still making progress? A liveness probe for pods.

    python -m job_runtime.liveness --max-age-seconds 900

It looks at the age of the file $PROGRESS_FILE, which `job_runtime.logs.progress` writes. Status 0: the file is young
enough, or not there yet (starting may take as long as it needs). Status 1: it is older.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from job_runtime import command
from job_runtime.logs.progress import FILE_VARIABLE
from job_runtime.problem_report import UserError

PROGRAM = "python -m job_runtime.liveness"


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument(
        "--max-age-seconds",
        type=float,
        required=True,
        help="seconds without progress after which the process counts as stuck",
    )
    args = parser.parse_args(argv)
    path = os.environ.get(FILE_VARIABLE)
    if not path:
        raise UserError(f"{FILE_VARIABLE} is not set, want the file that the command of this pod writes")
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
