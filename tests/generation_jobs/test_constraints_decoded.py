"""The decoder under constraints: no generated note breaks one, whatever the model would like, and primers are kept."""

import dataclasses

import numpy as np
import pytest

from generation_jobs.controls import Controls
from generation_jobs.decoder import Decoder
from generation_jobs.requests import Result
from midi_codec.fields import CATEGORICAL
from tests.generation_jobs.test_decoder import SLOTS, assert_same, make_bundle, make_request, results_of

STRICT = [
    Controls(max_polyphony=1),
    Controls(max_polyphony=2, min_duration="0.012 seconds"),
    Controls(max_polyphony=3, max_step="0.007 seconds"),
    Controls(min_step="0.003 seconds", max_step="0.011 seconds"),
    Controls(min_duration="0.015 s", max_duration="0.033 s"),
    Controls(min_pitch=61, max_pitch=64),
    Controls(pitch_classes="F major", max_pitch=60),
    Controls(pitch_classes=[5], max_polyphony=2),
    Controls(programs=[128]),
    Controls(notes_per_second=100.0, repetition_penalty=3.0),
]


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(make_bundle(CATEGORICAL, (0, 128), zero_step_bias=1.0), num_slots=SLOTS)


def constrained(number: int, **changes):
    controls = STRICT[number % len(STRICT)]
    request = make_request(number, controls=controls, max_notes=40, max_seconds=None, **changes)
    if request.primer is None or not controls.max_polyphony:
        return request
    short = np.full(len(request.primer), 5, np.int32)  # a long one would hang on beyond any step, which is an error
    return dataclasses.replace(request, primer=dataclasses.replace(request.primer, duration=short))


def broken(result: Result, controls: Controls) -> list[str]:
    """The constraints that generated notes break, counted plainly from the notes."""
    notes, first = result.notes, result.num_primer_notes
    starts, ends = notes.start.astype(int), notes.start.astype(int) + notes.duration.astype(int)
    steps = np.diff(starts, prepend=0)[max(first, 1) :]
    own, found = slice(first, None), []

    def check(name, ok):
        if not np.all(ok):
            found.append(name)

    def ms(text):
        return int(round(1000 * float(text.split()[0])))

    if controls.max_polyphony:
        for index in range(first, len(notes)):
            sounding = (starts[: index + 1] <= starts[index]) & (ends[: index + 1] > starts[index])
            check("max_polyphony", sounding.sum() <= controls.max_polyphony)
    if controls.min_step:
        check("min_step", steps >= ms(controls.min_step))
    if controls.max_step:
        check("max_step", steps <= ms(controls.max_step))
    if controls.min_duration:
        check("min_duration", notes.duration[own] >= ms(controls.min_duration))
    if controls.max_duration:
        check("max_duration", notes.duration[own] <= ms(controls.max_duration))
    if controls.min_pitch:
        check("min_pitch", notes.pitch[own] >= controls.min_pitch)
    if controls.max_pitch:
        check("max_pitch", notes.pitch[own] <= controls.max_pitch)
    if controls.pitch_classes == "F major":
        check("pitch_classes", np.isin(notes.pitch[own] % 12, [5, 7, 9, 10, 0, 2, 4]))
    if controls.pitch_classes == [5]:
        check("pitch_classes", notes.pitch[own] % 12 == 5)
    if controls.programs:
        check("programs", np.isin(notes.program[own], controls.programs))
    return found


NUMBERS = list(range(60))


@pytest.fixture(scope="module")
def results(decoder) -> list[Result]:
    return results_of(decoder, [constrained(number) for number in NUMBERS])


def test_no_output_breaks_a_constraint(results):
    for number, result in zip(NUMBERS, results, strict=True):
        assert broken(result, STRICT[number % len(STRICT)]) == []
    assert sum(len(result.notes) - result.num_primer_notes for result in results) > 500


def test_neighbours_with_and_without_constraints_change_nothing(decoder, results):
    mixed = [constrained(n) if n % 3 else make_request(n) for n in NUMBERS]
    free = results_of(decoder, [make_request(n) for n in NUMBERS[::3]])
    got = results_of(decoder, mixed)
    for number in NUMBERS:
        assert_same(got[number], results[number] if number % 3 else free[number // 3])
