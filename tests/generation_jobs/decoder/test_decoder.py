"""The decoder under XLA: what it generates, and that it is what the Keras model says.

Each compiled call takes seconds, so tests share decoders, and requests share one kind: `FREE`.
"""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from generation_jobs.decoder.decoder import STEPS_PER_CALL, Decoder
from generation_jobs.settings.requests import STEERED, Request, Result
from midi_codec.fields import CATEGORICAL, MAX_TICK, MIXTURE, MSE
from midi_codec.music.notes import BEATS
from tests.generation_jobs.decoder.cases import (
    CONFIG,
    CONTEXT,
    FREE,
    GREEDY,
    SLOTS,
    ask_model,
    assert_model_agrees,
    assert_same,
    make_bundle,
    make_case,
    make_request,
    nll_by_model,
    results_of,
)
from tests.trainer.tiny import make_notes, make_table
from trainer.sampling.field_sampling import drawable_mask, encode_bins

BOTH = ["categorical", pytest.param("context, mixture", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=BOTH)
def decoder(request) -> Decoder:
    return Decoder(make_case(request.param), num_slots=SLOTS)


NUMBERS = list(range(60))  # more than the slots, and more than a call can take up


@pytest.fixture(scope="module")
def results(decoder) -> list[Result]:
    return results_of(decoder, [make_request(number) for number in NUMBERS])


def test_the_case_has_all_there_is(results):
    assert {result.ended for result in results} == {True, False}
    lengths = [len(result.notes) - result.num_primer_notes for result in results]
    assert min(lengths) < 3 and max(lengths) > STEPS_PER_CALL  # within one call, and beyond
    assert {result.num_primer_notes for result in results} == set(range(15))


def test_the_order_of_requests_changes_nothing(decoder, results):
    order = np.random.default_rng(1).permutation(NUMBERS).tolist()
    for number, got in zip(order, results_of(decoder, [make_request(number) for number in order]), strict=True):
        assert_same(got, results[number])


def test_other_neighbours_change_nothing(decoder, results):
    chosen = NUMBERS[::7]
    for number in chosen[:3]:
        (alone,) = results_of(decoder, [make_request(number)])
        assert_same(alone, results[number])
    mixed = [make_request(n) if n in chosen else make_request(1000 + n) for n in NUMBERS]
    for number, got in zip(NUMBERS, results_of(decoder, mixed), strict=True):
        if number in chosen:
            assert_same(got, results[number])


def test_a_sample_has_a_stream_of_its_own(decoder):
    requests = [
        make_request(7, key=(0x9E3779B9, number + 1), sampling=FREE, max_notes=20, max_seconds=None, primer=None)
        for number in range(8)
    ]
    assert len({result.notes.piece_id for result in results_of(decoder, requests)}) == 8


def test_primers_are_kept(results):
    for number, result in zip(NUMBERS, results, strict=True):
        primer = make_request(number).primer
        assert result.num_primer_notes == (0 if primer is None else len(primer))
        if primer is not None:
            assert result.notes.take(slice(len(primer))) == primer
        if len(result.notes):
            assert result.notes.start[0] == 0


def test_limits_are_kept_and_only_cut(decoder, results):
    free = results_of(decoder, [make_request(number, max_notes=80, max_seconds=None) for number in NUMBERS])
    cuts = set()
    for number, result, whole in zip(NUMBERS, results, free, strict=True):
        request = make_request(number)
        made = len(result.notes) - result.num_primer_notes
        assert result.notes == whole.notes.take(slice(len(result.notes)))
        assert made <= request.max_notes
        late = MAX_TICK if request.max_seconds is None else int(request.max_seconds * 1000)
        assert (result.notes.start[result.num_primer_notes :] <= late).all()
        if not result.ended:  # a limit did: of notes, or the next note would have been too late
            by_notes = made == request.max_notes
            assert by_notes or whole.notes.start[len(result.notes)] > late
            cuts.add(by_notes)
        else:
            assert whole.ended and len(whole.notes) == len(result.notes)
    assert cuts == {True, False}


def test_log_likelihood_is_the_keras_models(decoder, results):
    assert_model_agrees(decoder.bundle, results[:25])


def assert_greedy(decoder: Decoder) -> None:
    """Every value is the likeliest, given the values before it."""
    (result,) = results_of(decoder, [make_request(0, primer=None, max_notes=12, max_seconds=None, sampling=GREEDY)])
    assert len(result.notes) == 12
    model, outputs, _ = ask_model(decoder.bundle, [result])
    assert (outputs.end_logit.numpy()[0, :12] <= 0).all()
    for field, got in zip(model.table, model.table.raw(result.notes).T, strict=True):
        output = outputs.fields[field.name].numpy()[0, :12]
        if field.loss == MSE:
            want = np.minimum(np.floor(output + 0.5), field.largest)
        elif field.loss == MIXTURE:
            want = model.point_guess(field, outputs).numpy()[0, :12]
        else:
            best = (output + drawable_mask(field)).argmax(axis=1)
            want = field.lows[best] + field.spans[best] // 2
        first = 1 if field.name == "step" else 0  # the first onset is 0
        assert got[first:].tolist() == want[first:].tolist()


@pytest.fixture(scope="module")
def steered(decoder) -> list[Result]:
    """Without a primer, and longer than what counts as early."""
    return results_of(decoder, [steered_request(number) for number in range(300)])


def steered_request(number: int, **changes) -> Request:
    values = {"primer": None, "max_notes": 12 + number % 40, "sampling": FREE, "steer_end": True, **changes}
    return make_request(number, **values)


def test_steered_pieces_are_not_cut_and_their_likelihood_is_the_models(decoder, steered):
    assert {result.ended for result in steered} == {True, STEERED}
    assert_model_agrees(decoder.bundle, steered[:40])
    free = results_of(decoder, [steered_request(number, max_notes=100, max_seconds=None) for number in range(40)])
    for number, (result, whole) in enumerate(zip(steered, free, strict=False)):
        assert result.notes == whole.notes.take(slice(len(result.notes)))
        if result.ended is True:
            assert len(result.notes) == len(whole.notes) or result.ended is not whole.ended
        elif make_request(number).max_seconds is None:
            most = 12 + number % 40
            assert most - most // 4 <= len(result.notes) <= most


def test_a_steered_piece_depends_on_its_request_alone(decoder, steered):
    order = np.random.default_rng(2).permutation(len(steered))[:50].tolist()
    for number, got in zip(order, results_of(decoder, [steered_request(n) for n in order]), strict=True):
        assert_same(got, steered[number])


def test_no_more_pieces_end_early_than_in_the_corpus(decoder, steered):
    lengths = np.array([len(result.notes) for result in steered if result.ended is True])
    assert lengths.min() >= 6
    assert (lengths < 10).sum() <= 0.05 * len(steered) + 3 * np.sqrt(0.05 * len(steered))
    free = results_of(decoder, [steered_request(number, steer_end=False) for number in range(100)])
    assert sum(len(result.notes) < 10 for result in free if result.ended) > 10  # what the model alone does


def test_temperature_zero_is_the_argmax_of_the_keras_model(decoder):
    assert_greedy(decoder)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep", "context, mse", "copying", "context, copying", "echoes"])
def test_other_models_agree_with_keras(name):
    decoder = Decoder(make_case(name), num_slots=SLOTS)
    assert_model_agrees(decoder.bundle, results_of(decoder, [make_request(number) for number in range(16)]))
    assert_greedy(decoder)


@pytest.mark.slow
def test_a_context_knows_the_chord_that_is_drawn():
    bundle = make_bundle(CATEGORICAL, (), zero_step_bias=-1.5, config={**CONFIG, **CONTEXT})
    requests = [make_request(number, max_notes=40, sampling=FREE) for number in range(32)]
    compared = []
    for result in results_of(Decoder(bundle, num_slots=SLOTS), requests):
        is_chord = np.diff(result.notes.start) == 0
        if (np.diff(result.notes.pitch.astype(int))[is_chord] > 0).all():  # or notes do not come as they were drawn
            compared.append(result)
    assert [-result.log_likelihood for result in compared] == pytest.approx(
        nll_by_model(bundle, compared), rel=1e-3, abs=1e-3
    )
    chords = [np.sum(np.diff(result.notes.start) == 0) for result in compared]
    lengths = [len(result.notes) for result in compared]
    assert sum(c > 5 and n > CONTEXT["context_notes"] for c, n in zip(chords, lengths, strict=True)) > 3


def test_the_number_of_slots_changes_nothing(decoder, results):
    many = results_of(
        Decoder(decoder.bundle, num_slots=64), [make_request(number) for number in range(60)]
    )  # two groups
    for got, want in zip(many, results, strict=True):
        assert got.notes == want.notes and got.log_likelihood == pytest.approx(want.log_likelihood, rel=1e-5)


@pytest.mark.parametrize("decoder", ["categorical"], indirect=True)
def test_a_limit_that_limits_nothing_changes_nothing(decoder, results):
    """Requests without a limit have a compiled call of their own."""
    free = [number for number in NUMBERS if make_request(number).sampling in (FREE, GREEDY)]
    requests = [make_request(number) for number in free]
    plain = [dataclasses.replace(one, sampling=dataclasses.replace(one.sampling, top_k=None)) for one in requests]
    assert len(free) > 10
    for number, got in zip(free, results_of(decoder, plain), strict=True):
        assert got.notes == results[number].notes
        assert got.log_likelihood == pytest.approx(results[number].log_likelihood, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["categorical"], indirect=True)
def test_an_ensemble_of_a_model_with_itself_is_the_model(decoder, results):
    twice = results_of(Decoder([decoder.bundle] * 2, num_slots=SLOTS), [make_request(number) for number in range(24)])
    same = [(got, want) for got, want in zip(twice, results, strict=False) if got.notes == want.notes]
    assert len(same) >= 22  # rounding may move a draw
    for got, want in same:
        assert got.log_likelihood == pytest.approx(want.log_likelihood, rel=1e-3, abs=1e-3)


@pytest.mark.slow
def test_an_ensemble_of_mixtures_says_what_its_members_say():
    """It has the components of all of them, so it draws other ones; what it makes is as likely."""
    bundle = make_case("context, mixture")
    decoder = Decoder([bundle, bundle], num_slots=SLOTS)
    assert_model_agrees(bundle, results_of(decoder, [make_request(number) for number in range(24)]))


def num_traces(decoder: Decoder) -> list[int]:
    """Of the decoder's own function, and of the one for primers."""
    return [function.experimental_get_tracing_count() for function in (decoder._call, decoder._prefills[False]._call)]


def test_preparing_changes_nothing(decoder, results):
    steps = decoder.num_steps
    decoder.prepare([make_request(number) for number in NUMBERS])
    assert decoder.num_steps == steps
    traced = num_traces(decoder)
    assert_same(results_of(decoder, [make_request(3)])[0], results[3])
    assert decoder.num_steps > steps
    assert num_traces(decoder) == traced and min(traced) > 0


def test_no_requests(decoder):
    assert list(decoder.generate([])) == []


def test_a_primer_that_does_not_fit(decoder):
    strange = dataclasses.replace(make_notes(1, num_notes=2), time_base=BEATS, pitch=np.array([60, 61], np.uint8))
    with pytest.raises(ValueError) as error:
        next(decoder.generate([make_request(0), make_request(1, primer=strange)]))
    wanted = "request 1: the notes are on a grid of beats, want milliseconds"
    if 61 not in decoder.bundle.fields["pitch"].values:
        wanted += "; pitch 61 does not occur in the model's corpus"
    assert str(error.value) == wanted


@pytest.mark.parametrize("slots", [0, 8, 20])
def test_slots_come_in_sixteens(slots):
    with pytest.raises(ValueError, match=f"num_slots is {slots}, want 1, or a multiple of 16"):
        Decoder([], num_slots=slots)


def test_encode_bins_is_the_fields_encode():
    for field in make_table(programs=(0, 40, 128)):
        values = np.array([0, 1, 4, 5, 19, 20, 40, MAX_TICK]) if field.kind == "time" else np.array(field.values)
        assert encode_bins(field, tf.constant(values, tf.int32)).numpy().tolist() == field.encode(values).tolist()


WIDE = {"units": 256, "layers": 2, "head_units": 32}  # with 64 slots the products are large enough for oneDNN


@pytest.mark.slow
def test_in_bfloat16_a_piece_depends_on_its_request_alone_and_is_as_likely():
    bundle = make_bundle(CATEGORICAL, (0, 128), config={**WIDE, "attention": "copy", "attention_notes": 8})
    decoder = Decoder(bundle, num_slots=64, precision="bfloat16")
    requests = [make_request(number) for number in range(100)]
    want = results_of(decoder, requests)
    for number in (3, 50):
        assert_same(results_of(decoder, [requests[number]])[0], want[number])
    order = np.random.default_rng(3).permutation(100).tolist()
    for number, got in zip(order, results_of(decoder, [requests[number] for number in order]), strict=True):
        assert_same(got, want[number])
    ordered = [result for result in want[:40] if (np.diff(result.notes.start) > 0).all()]
    found, by_model = -sum(result.log_likelihood for result in ordered), nll_by_model(bundle, ordered).sum()
    assert found != pytest.approx(by_model, rel=1e-6)  # which is in float32
    assert found == pytest.approx(by_model, rel=0.05)
