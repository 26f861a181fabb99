"""Notes that share onset, pitch and program: never drawn by a model whose corpus has none."""

import dataclasses

import numpy as np
import pytest

from generation_jobs.decoder.decoder import Decoder
from generation_jobs.settings.controls import Controls
from generation_jobs.settings.requests import Request, Result, Sampling
from midi_codec.fields import CATEGORICAL, MAX_TICK, MSE
from midi_codec.music.notes import Notes
from tests.generation_jobs.decoder.cases import (
    CONFIG,
    FREE,
    GREEDY,
    SLOTS,
    assert_same,
    make_bundle,
    make_request,
    nll_by_model,
    results_of,
)
from trainer.bundle import Bundle

CHORDS = Notes.from_columns(  # two notes twice, and at the end all that there is below the last of three pitches
    pitch=np.array([60, 60, 62, 62, 62]),
    velocity=np.array([40, 90, 40, 40, 90]),
    start=np.array([0, 0, 9, 9, 9]),
    duration=np.full(5, 5),
    program=np.array([0, 0, 0, 128, 128]),
)
SETTINGS = [
    (FREE, Controls()),
    (Sampling(top_k=MAX_TICK, temperature=3.0), Controls()),
    (GREEDY, Controls()),
    (Sampling(top_k=2), Controls()),
    (FREE, Controls(programs=[0])),
    (FREE, Controls(max_pitch=62)),
    (Sampling(top_k=MAX_TICK, temperature=2.0), Controls(max_polyphony=4, pitch_classes=[2])),
]


def without_duplicates(*, timing_loss: str = CATEGORICAL, programs: tuple[int, ...] = (0, 128)) -> Bundle:
    """A model that would draw chord upon chord, of a corpus without duplicates."""
    bundle = make_bundle(timing_loss, programs, zero_step_bias=8.0, config={**CONFIG, "layers": 1})
    weights = bundle.weights
    if timing_loss == MSE:
        weights = {**weights, "output_bias_step": np.zeros_like(weights["output_bias_step"])}
    return dataclasses.replace(bundle, dataset={"duplicate_notes": 0}, weights=weights)


def requests(count: int) -> list[Request]:
    made = []
    for number in range(count):
        sampling, controls = SETTINGS[number % len(SETTINGS)]
        primer = CHORDS if number % 2 else None
        made.append(
            make_request(number, primer=primer, max_notes=40, max_seconds=None, sampling=sampling, controls=controls)
        )
    return made


def num_duplicates(result: Result) -> int:
    """How many generated notes repeat one before them, of the primer too."""
    notes = result.notes
    rows = list(zip(notes.start.tolist(), notes.pitch.tolist(), notes.program.tolist(), strict=True))
    return sum(row in rows[:place] for place, row in enumerate(rows) if place >= result.num_primer_notes)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return without_duplicates()


@pytest.fixture(scope="module")
def decoder(bundle) -> Decoder:
    return Decoder(bundle, num_slots=SLOTS)


@pytest.fixture(scope="module")
def results(decoder) -> list[Result]:
    return results_of(decoder, requests(56))


def test_no_note_is_drawn_twice(bundle, results):
    assert sum(map(num_duplicates, results)) == 0
    sizes = [np.unique(result.notes.start, return_counts=True)[1].max(initial=0) for result in results]
    assert 4 <= max(sizes) <= 6  # as many as there are pitches and programs
    unknown = Decoder(dataclasses.replace(bundle, dataset={}), num_slots=SLOTS)  # of an earlier version
    drawn = results_of(unknown, [one for one in requests(56) if one.controls.is_free])
    assert sum(map(num_duplicates, drawn)) > 200
    for result in drawn:  # notes drawn at the onset of a primer's last note stay after it
        assert result.notes.pitch[: result.num_primer_notes].tolist() in ([], CHORDS.pitch.tolist())


def test_primers_stay_as_they_are(results):
    for result in results[1::2]:
        assert result.num_primer_notes == len(CHORDS)
        assert result.notes.take(np.arange(len(CHORDS))) == CHORDS


def test_neighbours_change_nothing(decoder, results):
    alone = results_of(decoder, requests(56)[10:13])
    for got, want in zip(alone, results[10:13], strict=True):
        assert_same(got, want)


def test_log_likelihood_is_the_models_own(bundle, results):
    compared = [result for result in results if len(result.notes) > result.num_primer_notes + 5][:12]
    found = [-result.log_likelihood for result in compared]
    assert found == pytest.approx(nll_by_model(bundle, compared), rel=1e-3, abs=1e-3)


@pytest.mark.slow
def test_times_that_are_numbers_and_one_program():
    for programs in ((), (0, 128)):
        decoder = Decoder(without_duplicates(timing_loss=MSE, programs=programs), num_slots=SLOTS)
        asked = [
            make_request(number, primer=None, max_notes=60, max_seconds=None, sampling=FREE) for number in range(32)
        ]
        results = results_of(decoder, asked)
        assert sum(map(num_duplicates, results)) == 0
        assert sum(int((np.diff(result.notes.start) == 0).sum()) for result in results) > 50


@pytest.mark.slow
def test_an_ensemble_forbids_what_all_of_its_corpora_lack(bundle):
    other = dataclasses.replace(bundle, dataset={"duplicate_notes": 3})
    assert sum(map(num_duplicates, results_of(Decoder([bundle, other], num_slots=SLOTS), requests(50)[::7]))) > 0
