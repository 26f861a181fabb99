import dataclasses

import numpy as np
import pytest

from generation_jobs.decoder.prefill import Start
from generation_jobs.decoder.request_queue import (
    DRAWN,
    END,
    OVER,
    PLAIN,
    RequestKind,
    RequestQueue,
)
from generation_jobs.settings.requests import STEERED, Request, Sampling
from midi_codec.fields import MAX_TICK, FieldTable
from midi_codec.music.notes import BEATS, Notes
from tests.trainer.tiny import make_notes, make_table

TABLE = make_table()
NOTE = [4, 62, 20, 40]  # step, pitch, duration, velocity


def make_request(number: int = 0, *, primer: Notes | None = None, max_seconds=None, max_notes=5, **how) -> Request:
    return Request(
        key=(number, 7), primer=primer, max_notes=max_notes, max_seconds=max_seconds, sampling=Sampling(**how)
    )


def begin(primers, _conditions) -> list[Start]:
    """A state that says how long the primer was."""
    return [
        Start(np.full(4, len(primer), np.int32), 10 * len(primer), (np.full((2, 3), len(primer), np.float32),))
        for primer in primers
    ]


def make_queue(requests, *, size=3, table=TABLE, kind=PLAIN) -> RequestQueue:
    queue = RequestQueue(requests, table, size=size, compute_starts=begin, kind=kind)
    queue.refresh()
    return queue


def emit(steps: list[list[tuple[int, int, list[int]]]]) -> dict[str, np.ndarray]:
    """What a call gives: for each step and slot a request, its flags and values; -1 costs -1, -2 ... by order."""
    request, flags, values = (np.array([[entry[i] for entry in step] for step in steps], np.int32) for i in range(3))
    costs = -np.arange(1, request.size + 1, dtype=np.float32).reshape(request.shape)
    odds = np.zeros_like(costs)
    return {"request": request, "flags": flags, "values": values, "log_likelihood": costs, "end_logit": odds}


def test_the_window_as_arrays():
    primer = make_notes(1, num_notes=4)
    requests = [
        make_request(1, primer=primer, max_seconds=2.0, temperature=0.5, top_k=3, top_p=0.9),
        make_request(2, max_notes=9),
        make_request(3),
        make_request(4),
    ]
    assert not {"top_k", "top_p", "min_p"} & make_queue(requests[1:], size=3).tensors().keys()  # nobody asked
    arrays = make_queue(requests, size=3, kind=RequestKind.of_request(requests[0])).tensors()
    assert "min_p" not in arrays
    assert arrays["count"] == 3
    assert arrays["initial_position"].tolist() == [4, 0, 0]
    assert arrays["initial_ticks"].tolist() == [40, 0, 0]
    assert arrays["initial_previous"].tolist() == [[4] * 4, [0] * 4, [0] * 4]
    (state,) = arrays["initial_state"]
    assert state.shape == (3, 2, 3) and state[:, 0, 0].tolist() == [4, 0, 0]
    assert arrays["key"].tolist() == [[1, 7], [2, 7], [3, 7]] and arrays["key"].dtype == np.uint32
    assert arrays["max_events"].tolist() == [9, 9, 5]
    assert arrays["max_ticks"].tolist() == [2000, 21_600_000, 21_600_000]
    for name, want in (("temperature", [0.5, 1, 1]), ("top_k", [3, MAX_TICK, MAX_TICK]), ("top_p", [0.9, 1, 1])):
        np.testing.assert_allclose(arrays[name], np.repeat(np.array(want)[:, None], 4, axis=1), rtol=1e-6)  # a field


def test_settings_by_field():
    how = {"temperature": {"pitch": 0.5, "step": 0}, "top_k": {"velocity": 2}, "min_p": 0.25, "top_p": {"step": 0.5}}
    request = make_request(1, **how)
    arrays = make_queue([request], size=1, kind=RequestKind.of_request(request)).tensors()
    assert TABLE.names == ("step", "pitch", "duration", "velocity")
    assert arrays["temperature"].tolist() == [[0.0, 0.5, 1.0, 1.0]]
    assert arrays["top_k"].tolist() == [[MAX_TICK, MAX_TICK, MAX_TICK, 2]]
    assert arrays["min_p"].tolist() == [[0.25] * 4] and arrays["top_p"].tolist() == [[0.5, 1.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    "how, want",
    [
        ({}, (False, False)),
        ({"min_p": 0.0}, (False, False)),
        ({"min_p": {"pitch": 0.0, "step": 0.0}}, (False, False)),
        ({"min_p": {"pitch": 0.0, "step": 0.1}}, (False, True)),
        ({"min_p": 0.1, "temperature": 0.5}, (False, True)),
        ({"top_k": 3}, (True, False)),
        ({"top_p": {"pitch": 0.5}, "min_p": 0.1}, (True, True)),
    ],
)
def test_a_kind_has_what_was_asked_for(how, want):
    assert RequestKind.of_request(make_request(1, **how)) == (*want, False, False)


def test_a_window_that_is_not_full():
    arrays = make_queue([make_request(1)], size=3).tensors()
    assert arrays["count"] == 1 and arrays["max_events"].tolist() == [5, 0, 0]


def test_seconds_of_the_beats_grid_follow_the_primers_tempo():
    table = FieldTable(TABLE.fields, BEATS, only_program=0)
    columns = {"pitch": [60], "velocity": [40], "start": [0], "duration": [20], "program": [0]}
    primer = Notes.from_columns(**{n: np.array(c) for n, c in columns.items()}, tempo=60.0, time_base=BEATS)
    requests = [make_request(primer=primer, max_seconds=2.0), make_request(max_seconds=2.0)]
    assert make_queue(requests, table=table).tensors()["max_ticks"].tolist() == [48, 96, 0]


def test_results_come_as_pieces_end():
    queue = make_queue([make_request(number) for number in range(3)], size=3)
    later, half = [8, 65, 5, 90], [1, 60, 5, 40]
    found = list(
        queue.collect(
            emit(
                [
                    [(0, DRAWN, NOTE), (1, DRAWN, NOTE)],
                    [(0, DRAWN, later), (1, END | OVER, NOTE)],
                    [(0, DRAWN | OVER, half), (2, DRAWN, NOTE)],
                    [(-1, 0, NOTE), (2, DRAWN, later)],
                ]
            )
        )
    )
    assert [index for index, _ in found] == [0, 1]
    whole, ended = (result for _, result in found)
    assert whole.notes.start.tolist() == [0, 8, 9]  # the first step says nothing
    assert whole.notes.pitch.tolist() == [62, 65, 60]
    assert whole.notes.duration.tolist() == [20, 5, 5] and whole.notes.program.tolist() == [0, 0, 0]
    assert (whole.log_likelihood, whole.ended, whole.num_primer_notes) == (-1.0 - 3 - 5, False, 0)
    assert len(ended.notes) == 1 and ended.ended and ended.log_likelihood == -2.0 - 4
    queue.refresh()
    assert not queue.is_empty
    (last,) = queue.collect(emit([[(0, OVER, NOTE)]]))  # the piece that was number 2 has moved to 0
    assert last[0] == 2 and last[1].notes.start.tolist() == [0, 8] and last[1].log_likelihood == -6.0 - 8
    queue.refresh()
    assert queue.is_empty


def test_a_limit_that_is_steered_leaves_a_place_for_the_end():
    requests = [make_request(1), dataclasses.replace(make_request(2), steer_end=True)]
    arrays = make_queue(requests).tensors()
    assert arrays["max_notes"].tolist() == [5, 5, 0]
    assert arrays["max_events"].tolist() == [5, 6, 0]
    assert arrays["steers"].tolist() == [False, True, False]


def test_a_steered_piece_ends_where_the_next_note_is_far():
    queue = make_queue([dataclasses.replace(make_request(number), steer_end=True) for number in range(2)])
    far, near = [30, 65, 5, 90], [4, 62, 20, 40]
    steps = [[(0, DRAWN, near), (1, DRAWN, near)] for _ in range(6)]
    steps += [[(0, DRAWN, far), (1, DRAWN, near)], [(0, DRAWN, near), (1, END | OVER, far)], [(0, OVER, near)] * 2]
    (_, steered), (_, itself) = queue.collect(emit(steps))
    assert (steered.ended, itself.ended) == (STEERED, True)
    assert len(steered.notes) == 6  # of 8, of which the last quarter may go
    assert steered.log_likelihood == pytest.approx(-(1 + 3 + 5 + 7 + 9 + 11) - np.log(2))  # END at even odds
    assert len(itself.notes) == 7


def test_those_with_a_slot_come_first_and_slots_are_renumbered():
    queue = make_queue([make_request(number) for number in range(5)], size=4)
    list(queue.collect(emit([[(0, DRAWN | OVER, NOTE), (1, DRAWN, NOTE)], [(2, DRAWN, NOTE), (1, DRAWN, NOTE)]])))
    queue.refresh()
    assert queue.tensors()["key"][:, 0].tolist() == [1, 2, 3, 4]
    assert queue.renumber(np.array([2, 1, -1], np.int32)).tolist() == [1, 0, -1]


def test_a_primer_stands_before_what_was_made():
    primer = make_notes(2, num_notes=3)
    queue = make_queue([make_request(primer=primer)])
    given = [(0, 0, row.tolist()) for row in TABLE.raw(primer)]
    ((_, result),) = queue.collect(emit([[entry] for entry in given] + [[(0, DRAWN | OVER, NOTE)]]))
    assert result.num_primer_notes == 3 and result.notes.take(slice(3)) == primer
    assert result.notes.start[3] == primer.start[2] + 4 and result.log_likelihood == -4.0


def test_programs_come_from_the_field_or_the_tables_only_one():
    table = make_table(programs=(0, 128))
    queue = make_queue([make_request()], table=table)
    ((_, result),) = queue.collect(emit([[(0, DRAWN | OVER, [*NOTE, 128])]]))
    assert result.notes.program.tolist() == [128]
    queue = make_queue([make_request()], table=FieldTable(TABLE.fields, TABLE.time_base, only_program=40))
    ((_, result),) = queue.collect(emit([[(0, DRAWN | OVER, NOTE)]]))
    assert result.notes.program.tolist() == [40]


def test_a_piece_that_ends_at_once_has_no_note():
    ((_, result),) = make_queue([make_request()]).collect(emit([[(0, END | OVER, NOTE)]]))
    assert len(result.notes) == 0 and result.ended and result.log_likelihood == -1.0


def test_no_requests():
    assert make_queue([]).is_empty


@pytest.mark.parametrize("may_restrike", [True, False])
def test_results_of_a_corpus_without_restrikes_have_none(may_restrike):
    queue = RequestQueue([make_request()], TABLE, size=1, compute_starts=begin, may_restrike=may_restrike)
    queue.refresh()
    ((_, result),) = queue.collect(emit([[(0, DRAWN, NOTE)], [(0, DRAWN | OVER, NOTE)]]))
    assert result.notes.duration.tolist() == [20 if may_restrike else 4, 20]
