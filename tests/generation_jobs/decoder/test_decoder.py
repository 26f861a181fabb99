import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from generation_jobs.decoder.decoder import STEPS_PER_CALL, Decoder
from generation_jobs.settings.requests import Request, Result, Sampling
from midi_codec.fields import CATEGORICAL, MAX_TICK, MIXTURE, MSE
from midi_codec.music.notes import BEATS
from tests.trainer.tiny import ALL_PITCHES, make_notes, make_table
from trainer import bundle as bundle_lib
from trainer.bundle import Bundle
from trainer.data.batches import Windows, make_batch
from trainer.data.pieces import stack_pieces
from trainer.model import mixture
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel
from trainer.sampling.field_sampling import drawable_mask, encode_bins

CONFIG = {"units": 32, "layers": 2, "head_units": 16, "dropout": 0.2}
SLOTS = 16


def make_bundle(
    timing_loss: str, programs: tuple[int, ...], *, zero_step_bias: float = -12.0, config: Mapping[str, Any] = CONFIG
) -> Bundle:
    """Random weights, with an END now and then, and hardly a step of 0, so that notes come in their total order."""
    pitches = {"pitches": ALL_PITCHES} if "context_units" in config else {}
    table = make_table(timing_loss=timing_loss, programs=programs, **pitches)
    model = NoteModel(ModelConfig(**config), table)
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.1 if "context" in variable.path else 0.4, variable.shape))
    head_bias = np.asarray(model.head_bias.value).copy()
    head_bias[model.end_column] = -4.0
    model.head_bias.assign(head_bias)
    if timing_loss != CATEGORICAL:
        model.output_kernels[0].assign(0.1 * model.output_kernels[0])
    step_bias = np.asarray(model.output_biases[0].value).copy()
    if timing_loss == MIXTURE:
        centres = np.linspace(2.0, 4.0, mixture.COMPONENTS)  # ticks of 6 to 54; the largest is 30
        step_bias = mixture.bias_of(0 * centres, centres, 0 * centres + 0.05, shift=table["step"].shift)
    else:
        step_bias[0] = zero_step_bias if timing_loss == CATEGORICAL else 3.0
    model.output_biases[0].assign(step_bias)
    return Bundle(
        config=dict(config),
        fields=table,
        dataset={},
        metrics={},
        deviations={"step": 3.0, "duration": 9.0} if timing_loss == MSE else {},
        weights=bundle_lib.get_weights(model),
    )


DEEP = {**CONFIG, "layers": 3, "layer_norm": True, "residual": True, "tied_embeddings": True}
CONTEXT = {"context_units": 16, "context_notes": 32, "context_lags": (8, 25), "context_periods": (50,)}
CASES = {
    "categorical": (CATEGORICAL, (0, 128), CONFIG),
    "mse": (MSE, (), {**CONFIG, "layer_norm": True}),
    "mixture": (MIXTURE, (0, 128), {**DEEP, "layers": 2}),
    "deep": (CATEGORICAL, (), DEEP),
    "context": (CATEGORICAL, (0, 128), {**CONFIG, **CONTEXT}),
    "context, mse": (MSE, (), {**CONFIG, **CONTEXT, "context_lags": (), "layers": 1}),
    "context, mixture": (MIXTURE, (), {**DEEP, **CONTEXT, "layers": 2, "context_periods": (12, 50)}),
}


def make_case(name: str) -> Bundle:
    timing_loss, programs, config = CASES[name]
    return make_bundle(timing_loss, programs, config=config)


@pytest.fixture(scope="module", params=["categorical", "mse", "mixture", "context", "context, mixture"])
def decoder(request) -> Decoder:
    return Decoder(make_case(request.param), num_slots=SLOTS)


def test_notes_of_one_onset_ascend_so_a_primer_stays_in_front():
    chords = Decoder(make_bundle(CATEGORICAL, (), zero_step_bias=4.0), num_slots=SLOTS)
    requests = [make_request(number, max_notes=40, max_seconds=None) for number in range(32)]
    num_same_onset = 0
    for request, result in zip(requests, results_of(chords, requests), strict=True):
        if request.primer is not None:
            primer = request.primer.from_first_onset()
            assert result.notes.pitch[: len(primer)].tolist() == primer.pitch.tolist()
            assert result.notes.start[: len(primer)].tolist() == primer.start.tolist()
            after = slice(len(primer), len(primer) + 1)
            num_same_onset += (result.notes.start[after] == primer.start[-1]).sum()
    assert num_same_onset >= 5  # or this test would show nothing


def make_request(number: int, **changes) -> Request:
    """A request of its own for each number: other primers, lengths and settings."""
    rng = np.random.default_rng(number)
    sampling = Sampling(
        temperature=float(rng.choice([0.0, 0.8, 1.0, 1.0])),
        top_k=None if rng.random() < 0.6 else int(rng.integers(1, 4)),
        top_p=None if rng.random() < 0.6 else float(rng.uniform(0.3, 1.0)),
    )
    length = int(rng.integers(0, 15))
    values = {
        "key": (0x2545F491, number),
        "primer": make_notes(number, num_notes=length) if length else None,
        "max_notes": int(rng.integers(1, 60)),
        "max_seconds": None if rng.random() < 0.7 else float(rng.uniform(0.05, 0.6)),
        "sampling": sampling,
    }
    return Request(**{**values, **changes})


def results_of(decoder: Decoder, requests: list[Request]) -> list[Result]:
    found = list(decoder.generate(requests))
    assert sorted(index for index, _ in found) == list(range(len(requests)))  # each once
    return [result for _, result in sorted(found, key=lambda entry: entry[0])]


def assert_same(got: Result, want: Result) -> None:
    assert got.notes == want.notes
    assert (got.log_likelihood, got.ended, got.num_primer_notes) == (
        want.log_likelihood,
        want.ended,
        want.num_primer_notes,
    )


NUMBERS = list(range(60))  # more than the slots, and more than a call can take up


@pytest.fixture(scope="module")
def results(decoder) -> list[Result]:
    return results_of(decoder, [make_request(number) for number in NUMBERS])


def test_the_case_has_all_there_is(results):
    assert {result.ended for result in results} == {True, False}
    lengths = [len(result.notes) - result.num_primer_notes for result in results]
    assert min(lengths) < 3 and max(lengths) > STEPS_PER_CALL  # within one call, and beyond
    assert {result.num_primer_notes for result in results} == set(range(15))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_requests_changes_nothing(decoder, results, seed):
    order = np.random.default_rng(seed).permutation(NUMBERS).tolist()
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
    plain = Sampling()
    requests = [
        make_request(7, key=(0x9E3779B9, number + 1), sampling=plain, max_notes=20, max_seconds=None, primer=None)
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


def nll_by_model(bundle: Bundle, result: Result) -> float:
    """Of the generated notes, and of END when it was reached, by the Keras model and the trainer's losses."""
    model, table = bundle.build_model(), bundle.fields
    pieces = stack_pieces([result.notes], table)
    first, events = result.num_primer_notes, len(result.notes) + result.ended
    windows = Windows(np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([events]))
    batch = make_batch(pieces, windows, table=table, batch_size=1, start_bins=model.start_bins, time=events)
    outputs, _ = model(
        batch.previous, batch.bins, model.zero_state(1), raw=tf.constant(batch.raw), is_note=tf.constant(batch.is_note)
    )
    deviation = bundle.deviations.get
    costs = [model.field_nll(field, outputs, batch.as_dict(), deviation(field.name)).numpy() for field in table]
    return sum(float(cost[0, first:].sum()) for cost in costs)


def assert_model_agrees(bundle: Bundle, results: list[Result]) -> None:
    compared = 0
    for result in results:
        if len(result.notes) == 0:
            continue
        assert (np.diff(result.notes.start) > 0).all()  # so the order in which notes were drawn is theirs
        assert -result.log_likelihood == pytest.approx(nll_by_model(bundle, result), rel=1e-3, abs=1e-3)
        compared += len(result.notes) > result.num_primer_notes
    assert compared > 10


def test_log_likelihood_is_the_keras_models(decoder, results):
    assert_model_agrees(decoder.bundle, results[:25])


def greedy_by_hand(bundle: Bundle, max_notes: int) -> list[list[int]]:
    """The likeliest value of every field, note after note, asked of the Keras model."""
    model, table = bundle.build_model(), bundle.fields
    previous, state = model.start_bins[None, None], model.zero_state(1)
    notes: list[list[int]] = []
    while len(notes) < max_notes:
        bins, values = np.zeros((1, 1, len(table)), np.int32), list[int]()
        for index, field in enumerate(table):
            raw = tf.constant(values + [0] * (len(table) - index))[None, None]
            outputs, after = model(tf.constant(previous), tf.constant(bins), state, raw=raw, is_note=tf.ones([1, 1]))
            output = outputs.fields[field.name].numpy()[0, 0]
            if field.loss == MSE:
                value = int(min(np.floor(output + 0.5), field.largest))
            elif field.loss == MIXTURE:
                value = int(model.point_guess(field, outputs).numpy()[0, 0])
            else:
                best = int((output + drawable_mask(field)).argmax())
                value = int(field.lows[best] + field.spans[best] // 2)
            if index == 0 and not notes:
                value = 0
            values.append(value)
            bins[0, 0, index] = field.encode(np.array(value))
        if outputs.end_logit.numpy()[0, 0] > 0:
            return notes
        notes.append(values)
        previous, state = bins, after  # a context remembers no velocity, which comes last
    return notes


def assert_greedy(decoder: Decoder) -> None:
    request = make_request(0, primer=None, max_notes=12, max_seconds=None, sampling=Sampling(temperature=0.0))
    (result,) = results_of(decoder, [request])
    want = greedy_by_hand(decoder.bundle, 12)
    assert len(want) == 12
    assert decoder.bundle.fields.raw(result.notes).tolist() == want


def test_temperature_zero_is_the_argmax_of_the_keras_model(decoder):
    assert_greedy(decoder)


def test_a_context_of_a_model_with_an_mse_head():
    decoder = Decoder(make_case("context, mse"), num_slots=SLOTS)
    assert_model_agrees(decoder.bundle, results_of(decoder, [make_request(number) for number in range(16)]))
    assert_greedy(decoder)


def test_a_context_knows_the_chord_that_is_drawn():
    bundle = make_bundle(CATEGORICAL, (), zero_step_bias=-1.5, config={**CONFIG, **CONTEXT})
    requests = [make_request(number, max_notes=40, sampling=Sampling()) for number in range(32)]
    compared = 0
    for result in results_of(Decoder(bundle, num_slots=SLOTS), requests):
        steps = np.diff(result.notes.start)
        if (np.diff(result.notes.pitch.astype(int))[steps == 0] > 0).all():  # or notes do not come as they were drawn
            assert -result.log_likelihood == pytest.approx(nll_by_model(bundle, result), rel=1e-3, abs=1e-3)
            compared += np.sum(steps == 0) > 5 and len(result.notes) > CONTEXT["context_notes"]
    assert compared > 3


@pytest.mark.parametrize("name", ["categorical", "context, mixture"])
def test_the_number_of_slots_changes_nothing(name):
    bundle, requests = make_case(name), [make_request(number) for number in range(40)]
    few, many = (results_of(Decoder(bundle, num_slots=slots), requests) for slots in (16, 48))
    for got, want in zip(few, many, strict=True):
        assert got.notes == want.notes and got.log_likelihood == pytest.approx(want.log_likelihood, rel=1e-5)


def test_layer_norm_residual_links_and_tied_embeddings_are_the_keras_models():
    deep = Decoder(make_case("deep"), num_slots=SLOTS)
    assert_model_agrees(deep.bundle, results_of(deep, [make_request(number) for number in range(16)]))
    assert_greedy(deep)


def test_an_end_that_is_certain():
    bundle = make_case("mse")
    head_bias = bundle.weights["head_bias"].copy()
    head_bias[len(bundle.fields) * CONFIG["head_units"]] = 60.0
    bundle = dataclasses.replace(bundle, weights={**bundle.weights, "head_bias": head_bias})
    primer = make_notes(3, num_notes=4)
    requests = [make_request(0, primer=None), make_request(1, primer=primer)]
    nothing, kept = results_of(Decoder(bundle, num_slots=SLOTS), requests)
    assert len(nothing.notes) == 0 and kept.notes == primer
    for result in (nothing, kept):
        assert result.ended and result.log_likelihood == pytest.approx(0.0, abs=1e-6)


def test_no_requests(decoder):
    assert list(decoder.generate([])) == []


def test_a_primer_that_does_not_fit(decoder):
    strange = dataclasses.replace(make_notes(1, num_notes=2), time_base=BEATS, pitch=np.array([60, 61], np.uint8))
    with pytest.raises(ValueError) as error:
        next(decoder.generate([make_request(0), make_request(1, primer=strange)]))
    wanted = "request 1: the notes lie on a grid of beats, want milliseconds"
    if 61 not in decoder.bundle.fields["pitch"].values:
        wanted += "; pitch 61 does not occur in the model's corpus"
    assert str(error.value) == wanted


@pytest.mark.parametrize("slots", [0, 8, 20])
def test_slots_come_in_sixteens(slots):
    with pytest.raises(ValueError, match=f"num_slots is {slots}, want 1, or a multiple of 16"):
        Decoder(make_case("mse"), num_slots=slots)


def test_encode_bins_is_the_fields_encode():
    for field in make_table(programs=(0, 40, 128)):
        values = np.array([0, 1, 4, 5, 19, 20, 40, MAX_TICK]) if field.kind == "time" else np.array(field.values)
        assert encode_bins(field, tf.constant(values, tf.int32)).numpy().tolist() == field.encode(values).tolist()
