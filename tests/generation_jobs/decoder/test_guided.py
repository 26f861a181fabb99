"""Guidance: the logits without labels, and their difference to those with labels some times over."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from generation_jobs.decoder.decoder import Decoder
from generation_jobs.decoder.ensemble import Ensemble
from generation_jobs.decoder.guided import Guided
from generation_jobs.decoder.network import Network
from generation_jobs.settings.label_weights import NO_CONDITION, condition
from tests.generation_jobs.decoder.cases import FREE, SLOTS, ask_model, make_case, make_request, results_of
from tests.trainer.tiny import make_notes
from trainer.sampling.field_sampling import drawable_mask

MOZART = {"composer": "Mozart", "live": "yes"}
GUIDANCE = (0.0, 1.0, 2.5)


def heads(network, rows: int, conditions) -> list[np.ndarray]:
    """END's log odds and every head's logits after two notes."""
    table = make_case("categorical").fields
    notes = table.raw(make_notes(3, num_notes=2))
    state = network.zero_state(rows, conditions)
    previous = np.tile(np.stack([table.start_bins, table.encode(notes[0])]), (rows, 1, 1)).astype(np.int32)
    values = np.tile(notes, (rows, 1, 1)).astype(np.int32)
    state = network.consume(tf.constant(previous), tf.constant(values), state, tf.fill([rows], 2))
    before = tf.constant(np.tile(table.encode(notes[1]), (rows, 1)))
    inputs, state = network.trunk(before, network.by_feature(state))
    bins = [tf.ones([rows], tf.int32) for _ in table]
    found = [network.head(index, inputs, bins[:index], None).numpy() for index in range(len(table))]
    return [network.end_logit(inputs).numpy()[:, None], *found]


@pytest.mark.parametrize("number", [1, 2])
def test_logits_are_weighed(number):
    bundle = make_case("categorical")
    network = Network(bundle) if number == 1 else Ensemble([bundle, bundle])
    told = heads(network, 1, [condition(MOZART, None)])
    untold = heads(network, 1, None)
    assert max(abs(a - b).max() for a, b in zip(told, untold, strict=True)) > 0.1
    guided = heads(Guided(network), 3, [condition(MOZART, guidance) for guidance in GUIDANCE])
    for got, with_labels, without in zip(guided, told, untold, strict=True):
        is_free = without[0] > -1e8  # not masked
        for row, guidance in enumerate(GUIDANCE):
            want = without[0] + guidance * (with_labels[0] - without[0])
            np.testing.assert_allclose(got[row][is_free], want[is_free], rtol=1e-4, atol=1e-4)
        assert (got[:, ~is_free] < -1e8).all()


def test_what_is_guided():
    assert not NO_CONDITION.is_guided and not condition(MOZART, None).is_guided
    assert not condition({"composer": "unknown"}, 2.0).is_guided and not condition(MOZART, 1.0).is_guided
    assert condition(MOZART, 0.5).is_guided


@pytest.mark.slow
def test_guided_pieces():
    bundle = make_case("categorical")
    decoder = Decoder(bundle, num_slots=SLOTS)
    greedy = dataclasses.replace(FREE, temperature=0.0)
    guided = [make_request(n, condition=condition(MOZART, 1.5), max_notes=12, max_seconds=None) for n in range(24)]
    requests = [*guided, *[make_request(n) for n in range(4)]]
    requests[0] = dataclasses.replace(guided[0], primer=None, sampling=greedy)
    results = results_of(decoder, requests)
    for result, alone in zip(results[3:5], (results_of(decoder, [requests[n]])[0] for n in (3, 4)), strict=True):
        assert result.notes == alone.notes and result.log_likelihood == alone.log_likelihood
    for result, want in zip(results[24:], results_of(decoder, [make_request(n) for n in range(4)]), strict=True):
        assert result.notes == want.notes
    first = results[0]
    _, told, _ = ask_model(bundle, [first] * 3)  # the last has MOZART's labels, the first none
    table, length = bundle.fields, len(first.notes)
    for field, got in zip(table, table.raw(first.notes).T, strict=True):
        outputs = told.fields[field.name].numpy()[:, :length]
        logits = outputs[0] + 1.5 * (outputs[2] - outputs[0])
        best = (logits + drawable_mask(field)).argmax(axis=1)
        want = field.lows[best] + field.spans[best] // 2
        first_row = 1 if field.name == "step" else 0
        assert got[first_row:].tolist() == want[first_row:].tolist()
