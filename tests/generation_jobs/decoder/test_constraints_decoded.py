"""The decoder under constraints: no generated note breaks one, whatever the model would like, and primers are kept."""

import dataclasses

import numpy as np
import pytest

from generation_jobs.decoder.decoder import Decoder
from generation_jobs.settings.controls import Controls
from generation_jobs.settings.requests import Result, Sampling
from midi_codec.fields import CATEGORICAL
from tests.generation_jobs.decoder.cases import (
    FREE,
    SLOTS,
    assert_model_agrees,
    assert_same,
    make_bundle,
    make_request,
    results_of,
)
from tests.trainer.tiny import make_notes

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


@pytest.mark.slow
def test_without_constraints_each_would_have_been_broken(decoder):
    free = results_of(
        decoder,
        [make_request(n, max_notes=40, max_seconds=None, sampling=FREE) for n in NUMBERS],
    )
    for controls in STRICT[:-1]:
        assert any(broken(result, controls) for result in free), controls


def test_neighbours_with_and_without_constraints_change_nothing(decoder, results):
    mixed = [constrained(n) if n % 3 else make_request(n) for n in NUMBERS]
    free = results_of(decoder, [make_request(n) for n in NUMBERS[::3]])
    got = results_of(decoder, mixed)
    for number in NUMBERS:
        assert_same(got[number], results[number] if number % 3 else free[number // 3])


def test_notes_a_second_are_steered(decoder):
    def rate(notes_per_second):
        controls = Controls(notes_per_second=notes_per_second)
        requests = [
            make_request(n, primer=None, max_notes=200, max_seconds=None, sampling=FREE, controls=controls)
            for n in range(32)
        ]
        chosen = [one.notes for one in results_of(decoder, requests) if len(one.notes) > 100]
        assert len(chosen) > 3
        return np.mean([1000 * (len(notes) - 1) / (notes.start[-1] - notes.start[0]) for notes in chosen])

    slow, usual, fast = (rate(wanted) for wanted in (80.0, None, 200.0))
    assert slow == pytest.approx(80, rel=0.15) and fast == pytest.approx(200, rel=0.15)
    assert slow < fast and abs(usual - 80) > 5


def test_a_primer_that_hangs_on_is_said(decoder):
    primer = dataclasses.replace(make_notes(1, num_notes=3), duration=np.full(3, 60, np.int32))
    request = make_request(0, primer=primer, controls=Controls(max_polyphony=1, max_step="0.005 s"))
    with pytest.raises(ValueError, match="request 0: max_polyphony is 1, but the primer's notes keep sounding"):
        next(decoder.generate([request]))


def test_log_likelihood_is_the_models_at_temperature_1(decoder):
    controls = Controls(max_duration="0.03 s", min_pitch=62, min_step="0.001 s")
    requests = [make_request(n, max_notes=30, controls=controls) for n in range(24)]
    assert_model_agrees(decoder.bundle, results_of(decoder, requests))


def test_settings_by_field_are_of_their_field_alone(decoder):
    requests = [
        make_request(
            n, primer=None, max_notes=40, max_seconds=None, sampling=Sampling(top_k={"program": 1, "pitch": 1})
        )
        for n in range(16)
    ]
    free = [dataclasses.replace(r, sampling=Sampling(top_k={"velocity": 1})) for r in requests]
    one, other = results_of(decoder, requests), results_of(decoder, free)
    assert any(len(set(r.notes.velocity.tolist())) > 1 for r in one)
    assert any(len(set(r.notes.pitch.tolist())) > 1 for r in other)
