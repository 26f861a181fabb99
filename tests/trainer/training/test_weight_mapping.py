"""A model's weights for another field table: what keeps its probability, and what an unknown value starts from."""

import dataclasses

import keras
import numpy as np
import pytest

from job_runtime.problem_report import UserError
from midi_codec.dataset.dataset_info import Histogram
from midi_codec.dataset.labels import Vocabulary
from midi_codec.fields import CATEGORY, MAX_TICK, MSE, TIME, FieldSpec, FieldTable
from midi_codec.music.notes import Notes
from tests.trainer.tiny import ALL_PITCHES, make_table
from trainer import bundle
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel
from trainer.training.weight_mapping import bin_map, map_weights, shares

CONFIG = ModelConfig(units=16, layers=1, head_units=16)
PROGRAMS = (0, 1, 40, 128)
OLD = make_table(programs=PROGRAMS)
NOTES = Notes.from_columns(
    start=[0, 3, 3, 40, 41],
    pitch=[60, 62, 65, 60, 62],
    duration=[5, 12, 50, 300, 20],
    velocity=[40, 90, 90, 40, 90],
    program=[1] * 5,
)


def random_weights(table: FieldTable, config: ModelConfig = CONFIG) -> dict[str, np.ndarray]:
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(2)
    return {
        name: rng.normal(0, 0.5, array.shape).astype(np.float32)
        for name, array in bundle.get_weights(NoteModel(config, table)).items()
    }


def mapped(new: FieldTable, old: FieldTable = OLD, config: ModelConfig = CONFIG, **more) -> dict[str, np.ndarray]:
    fresh = bundle.get_weights(NoteModel(config, new))
    return map_weights(random_weights(old, config), old, new, head_units=config.head_units, fresh=fresh, **more)


def costs(table: FieldTable, weights: dict[str, np.ndarray], config: ModelConfig = CONFIG) -> dict[str, np.ndarray]:
    """Nats of each field of each note."""
    model = NoteModel(config, table)
    bundle.set_weights(model, weights)
    raw = table.raw(NOTES)[None]
    bins = table.encode(raw)
    previous = np.concatenate([table.start_bins[None, None], bins[:, :-1]], axis=1)
    there = np.ones(raw.shape[:2], np.float32)
    outputs, _ = model(previous, bins, model.zero_state(1), raw=raw, is_note=there)
    targets = {"bins": bins, "raw": raw, "is_note": there, "is_end": 0 * there}
    return {field.name: model.field_nll(field, outputs, targets, 10.0).numpy()[0] for field in table}


def with_field(table: FieldTable, name: str, **changes) -> FieldTable:
    fields = tuple(dataclasses.replace(field, **changes) if field.name == name else field for field in table)
    return dataclasses.replace(table, fields=fields)


def assert_same_costs(new: FieldTable, weights: dict[str, np.ndarray], config: ModelConfig = CONFIG, old=OLD) -> None:
    before, after = costs(old, random_weights(old, config), config), costs(new, weights, config)
    for name in set(old.names) & set(new.names):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_same_table_gives_the_same_weights():
    counts = {"step": Histogram(values=(0, 3), counts=(1, 7))}
    got = mapped(OLD, histograms=counts)
    for name, array in random_weights(OLD).items():
        if name.startswith("output_"):  # the padding of a head is masked
            size = OLD[name.rsplit("_", 1)[1]].num_bins
            got[name], array = got[name][..., :size], array[..., :size]
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.mark.parametrize("more", [{}, {"tied_embeddings": True}])
def test_parts_of_a_bin_keep_the_probability_of_every_tick(more):
    config = dataclasses.replace(CONFIG, **more)
    finer = with_field(OLD, "step", edges=(0, 1, 2, 5, 7, 12, 20, 31, 99, MAX_TICK + 1))
    finer = with_field(finer, "duration", edges=(0, 10, 12, 13, 40, 61, 1000, MAX_TICK + 1))
    assert_same_costs(finer, mapped(finer, config=config), config)


def test_the_notes_of_the_corpus_say_how_a_bin_is_shared():
    old = FieldSpec(name="step", kind=TIME, edges=(0, 4, 8))
    new = FieldSpec(name="step", kind=TIME, edges=(0, 1, 4, 6, 8))
    assert shares(old, new, None).T.tolist() == [[0.25, 0.75, 0, 0], [0, 0, 0.5, 0.5]]
    got = shares(old, new, Histogram(values=(0, 7), counts=(3, 1)))
    assert got.T.tolist() == [[3.25 / 4, 0.75 / 4, 0, 0], [0, 0, 0.25, 0.75]]


def test_a_bin_over_several_has_their_probability_together():
    old = FieldSpec(name="step", kind=TIME, edges=(0, 1, 2, 4, 10))
    new = FieldSpec(name="step", kind=TIME, edges=(0, 2, 3, 10))
    weights = {"output_bias_step": np.log([0.1, 0.3, 0.2, 0.4]).astype(np.float32)}
    got = bin_map(old, new, weights, None)
    np.testing.assert_allclose(np.exp(got.bias), [0.4, 0.1, 0.5], rtol=1e-6)
    np.testing.assert_allclose(got.rows, [[0.25, 0.75, 0, 0], [0, 0, 1, 0], [0, 0, 0.2, 0.8]], rtol=1e-6)


def test_a_grid_that_ends_elsewhere():
    old = FieldSpec(name="step", kind=TIME, edges=(1, 4))
    new = FieldSpec(name="step", kind=TIME, edges=(0, 2, 8))
    assert shares(old, new, None)[:, 0].tolist() == [0.25, 0.75]


def test_unknown_programs_start_from_their_family_and_drums_apart():
    new = with_field(OLD, "program", values=(0, 7, 43, 90, 128))
    rows = np.arange(4.0)
    got = bin_map(OLD["program"], new["program"], {"output_bias_program": rows}, None)
    melodic = [1 / 3, 1 / 3, 1 / 3, 0]
    np.testing.assert_allclose(got.rows, [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0], melodic, [0, 0, 0, 1]])
    np.testing.assert_allclose(got.bias, [0, 0.5, 2, 1, 3])
    drums = bin_map(with_field(OLD, "program", values=(128,))["program"], new["program"], {
        "output_bias_program": rows
    }, None)  # fmt: skip
    assert (drums.rows == 1).all()


def test_other_pitches_are_like_the_nearest():
    old, new = (FieldSpec(name="pitch", kind=CATEGORY, values=values) for values in ((60, 62, 65), (50, 62, 64)))
    got = bin_map(old, new, {"output_bias_pitch": np.arange(3.0)}, None)
    assert got.rows.argmax(axis=1).tolist() == [0, 1, 2] and got.bias.tolist() == [0, 1, 2]


FULL = ModelConfig(
    units=16,
    layers=2,
    head_units=16,
    layer_norm=True,
    context_units=16,
    context_notes=32,
    context_periods=(4,),
    attention="copy",
)
WIDE = make_table(programs=PROGRAMS, pitches=ALL_PITCHES)


@pytest.mark.parametrize("config", [CONFIG, FULL], ids=["plain", "full"])
def test_a_corpus_of_one_program_needs_no_field_for_it(config):
    new = FieldTable(WIDE.fields[:-1], WIDE.time_base, only_program=1)
    assert_same_costs(new, mapped(new, WIDE, config), config, WIDE)


@pytest.mark.parametrize("config", [CONFIG, FULL], ids=["plain", "full"])
def test_a_new_field_for_programs_leaves_the_others_as_they_were(config):
    old = FieldTable(WIDE.fields[:-1], WIDE.time_base, only_program=1)
    counts = {"program": Histogram(values=(1, 40), counts=(3, 1))}
    got = mapped(WIDE, old, config, histograms=counts)
    assert_same_costs(WIDE, got, config, old)
    np.testing.assert_allclose(np.exp(got["output_bias_program"][:4]), np.array([1, 4, 2, 1]) / 8, rtol=1e-6)


def test_numbers_in_ticks_stay():
    old = make_table(timing_loss=MSE, programs=PROGRAMS)
    new = with_field(old, "duration", edges=(0, 5, 61, MAX_TICK + 1))
    got, start = mapped(new, old), random_weights(old)
    for name in ("output_kernel_duration", "output_bias_duration"):
        np.testing.assert_array_equal(got[name], start[name])
    assert got["embedding_duration"].shape == (4, 16)


def test_columns_that_are_added_to_logits():
    """As a part that copies has them: rows of a field's values, a last one for the start, and columns of its logits."""
    new = with_field(OLD, "step", edges=(0, 1, 3, MAX_TICK + 1))
    start = {**random_weights(OLD), "copying/follows_step": np.arange(96.0).reshape(6, 16)}
    fresh = {**bundle.get_weights(NoteModel(CONFIG, new)), "copying/follows_step": np.zeros((4, 16))}
    got = map_weights(start, OLD, new, head_units=16, fresh=fresh)["copying/follows_step"]
    assert got.shape == (4, 16) and (got[:, 3:] == 0).all()
    np.testing.assert_array_equal(got[0, :2], [0, 1])
    np.testing.assert_array_equal(got[3, :2], [80, 81])


def test_a_weight_of_another_size_is_named():
    start = {**random_weights(OLD), "lstm_0/lstm_cell/bias": np.zeros(3)}
    with pytest.raises(UserError) as error:
        map_weights(start, OLD, OLD, head_units=16, fresh=random_weights(OLD))
    assert error.value.problems == ["lstm_0/lstm_cell/bias has shape (3,), want (64,)"]


def with_labels(*labels: Vocabulary) -> FieldTable:
    return dataclasses.replace(OLD, labels=labels)


BACH = Vocabulary(name="composer", values=("Bach", "Liszt"))
OTHERS = Vocabulary(name="composer", values=("Albeniz", "Bach", "Mozart"))


def test_a_label_that_is_new_changes_nothing_at_first():
    found = mapped(with_labels(BACH))
    assert found["label_composer"].shape == (3, 16) and not found["label_composer"].any()


def test_values_of_a_label_keep_their_rows_and_new_ones_are_like_an_unknown():
    old, found = random_weights(with_labels(BACH))["label_composer"], mapped(with_labels(OTHERS), with_labels(BACH))
    assert (found["label_composer"] == old[[0, 0, 1, 0]]).all()


def test_without_its_label_a_model_is_as_with_an_unknown_one():
    want = costs(with_labels(BACH), random_weights(with_labels(BACH)))
    for name, got in costs(OLD, mapped(OLD, with_labels(BACH))).items():
        np.testing.assert_allclose(got, want[name], rtol=1e-5, atol=1e-5)
