"""Starts the workers of an encode on Flink or Spark, until a signal ends it. One pool runs beside each TaskManager.

    python -m beam_pipelines.worker_pool --port 50000

It is Beam's worker pool, and tells the engine if a worker dies: with Beam's own, Flink waits forever for a worker that
died before it had connected. It answers only its own machine, or pod. docs/engines.md says how to run it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from job_runtime import command
from job_runtime.command import StopSignal
from job_runtime.command_line.flags import Parser
from job_runtime.command_line.settings import add_number
from job_runtime.problem_report import UserError

PROGRAM = "python -m beam_pipelines.worker_pool"
LAST_PORT = 65535
POLL_SECONDS = 0.2


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    add_number(parser, "--port", 50000, "where the engine asks for workers", at_least=1, at_most=LAST_PORT)
    return parser


def main(argv: Sequence[str]) -> int:
    args, problems = make_parser().parse(argv)
    if problems:
        raise UserError(problems)
    from beam_pipelines.execution.beam_workers import WorkerPool  # Beam takes seconds to import

    with StopSignal() as stop, WorkerPool().listening(args.port):
        print(f"{PROGRAM}: listening on port {args.port}", flush=True)
        while not stop.requested:
            time.sleep(POLL_SECONDS)
    return command.OK


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
