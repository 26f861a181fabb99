import dataclasses

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from midi_codec.fields import CATEGORICAL, MIXTURE, MSE, FieldTable
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes
from tests.trainer.strategies import under_several_forms
from tests.trainer.tiny import ALL_PITCHES, COMPOSER, LIVE, make_labels, make_many, make_table
from trainer.data import batches
from trainer.data.batches import Windows, make_batch
from trainer.data.pieces import Pieces, stack_pieces
from trainer.evaluation.validation import Evaluation, Evaluator
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel

LENGTHS = [5, 40, 17, 33, 16, 1, 15]  # with END: shorter, longer and as long as a chunk
ONE = "/cpu:0"
PLAIN = ModelConfig(units=16, layers=1, head_units=16)


def make_model(table: FieldTable, config: ModelConfig = PLAIN) -> NoteModel:
    model = NoteModel(config, table)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return model


# A head of every loss, and all kinds of state that a chunk hands to the next: the LSTM's and the notes so far.
EVERY_HEAD = FieldTable(
    tuple(
        dataclasses.replace(field, loss={"step": MSE, "duration": MIXTURE}.get(field.name, CATEGORICAL))
        for field in make_table(pitches=ALL_PITCHES)
    ),
    MILLISECONDS,
    only_program=0,
    labels=(COMPOSER, LIVE),
)
WITH_CONTEXT = dataclasses.replace(
    PLAIN, context_units=16, context_notes=32, context_lags=(8, 25), context_periods=(8,)
)
SPLITS = (LENGTHS, [40, 3, 17], [33])  # all take several chunks of 16; the last have fewer pieces than some replicas


@pytest.fixture(scope="module")
def model() -> NoteModel:
    return make_model(EVERY_HEAD, WITH_CONTEXT)


@pytest.fixture(scope="module")
def evaluator(model) -> Evaluator:
    return Evaluator(model, tf.distribute.OneDeviceStrategy(ONE), batch_size=4, chunk=16)


def stack(many: list[Notes]) -> Pieces:
    """Pieces with labels."""
    return stack_pieces(many, EVERY_HEAD, labels=list(map(make_labels, range(len(many)))))


def outputs_of(model: NoteModel, notes: Notes, labels: dict[str, str]):
    """A whole piece by itself in one call: batch, and what the heads say, without padding."""
    pieces = stack_pieces([notes], model.table, labels=[labels])
    events = len(notes) + 1
    windows = Windows(np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([events]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "TIME_MULTIPLE", 1)
        batch = make_batch(pieces, windows, table=model.table, batch_size=1, start_bins=model.start_bins)
    state = model.with_labels(model.zero_state(1), tf.constant(pieces.labels))
    outputs, _ = model(batch.previous, batch.bins, state, raw=batch.raw, is_note=batch.is_note)
    return batch, outputs


def by_hand(model: NoteModel, many: list[Notes]) -> dict[str, dict[str, float]]:
    """The figures of an Evaluation, piece by piece, in NumPy and SciPy."""
    table, num_notes = model.table, sum(map(len, many))
    found = {name: dict.fromkeys(table.names, 0.0) for name in ("nll", "hits", "error", "square")}
    guesses: dict[str, list[np.ndarray]] = {name: [] for name in table.names}
    raws: dict[str, list[np.ndarray]] = {name: [] for name in table.names}
    for number, notes in enumerate(many):
        batch, outputs = outputs_of(model, notes, make_labels(number))
        end = outputs.end_logit.numpy()[0].astype(np.float64)
        found["nll"]["pitch"] += np.logaddexp(0, end[:-1]).sum() + np.logaddexp(0, -end[-1])
        for index, field in enumerate(table):
            output = outputs.fields[field.name].numpy()[0, :-1].astype(np.float64)
            bins, raw = batch.bins[0, :-1, index], batch.raw[0, :-1, index]
            if field.loss == MSE:
                guess = output
            elif field.loss == MIXTURE:  # its own numbers are test_mixture's
                found["nll"][field.name] += model.field_nll(field, outputs, batch.as_dict()).numpy().sum()
                guess = model.point_guess(field, outputs).numpy()[0, :-1]
            else:
                log_probability = output - np.logaddexp.reduce(output, axis=1, keepdims=True)
                nll = field.log_spans[bins] - log_probability[np.arange(len(bins)), bins]
                found["nll"][field.name] += nll.sum()
                found["hits"][field.name] += (output.argmax(axis=1) == bins).sum()
                guess = (field.lows + (field.spans - 1) / 2)[output.argmax(axis=1)]
            guesses[field.name].append(guess)
            raws[field.name].append(raw)
            found["error"][field.name] += (abs(guess - raw) * 1000 * notes.seconds_per_tick).sum()
    for field in table:
        if field.loss == MSE:
            guess, raw = np.concatenate(guesses[field.name]), np.concatenate(raws[field.name])
            deviation = ((guess - raw) ** 2).mean() ** 0.5
            found["square"][field.name] = deviation * num_notes
            normal = scipy.stats.norm(guess, deviation)
            lower = np.where(raw == 0, 0, normal.cdf(raw - 0.5))
            found["nll"][field.name] = -np.log(normal.cdf(raw + 0.5) - lower).sum()
    return {name: {field: total / num_notes for field, total in sums.items()} for name, sums in found.items()}


def test_whole_pieces_in_chunks_equal_each_piece_by_itself(model, evaluator):
    many = make_many(LENGTHS)
    got, want = evaluator.evaluate(stack(many)), by_hand(model, many)
    assert got.num_notes == sum(LENGTHS)
    assert got.nll_by_field == pytest.approx(want["nll"], rel=2e-5)
    assert got.nll == pytest.approx(sum(want["nll"].values()), rel=2e-5)
    seconds = sum(notes.seconds for notes in many)
    assert got.nll_per_second == pytest.approx(got.nll * got.num_notes / seconds, rel=1e-6)
    categorical = [field.name for field in model.table if field.loss == CATEGORICAL]
    assert got.accuracy == pytest.approx({name: want["hits"][name] for name in categorical}, rel=1e-12)
    times = ("step", "duration")
    assert got.error_milliseconds == pytest.approx({name: want["error"][name] for name in times}, rel=1e-5)
    continuous = {name: want["square"][name] for name in times if model.table[name].loss == MSE}
    assert got.deviations == pytest.approx(continuous, rel=1e-5)


@pytest.fixture(scope="module")
def on_one_device(evaluator) -> list[Evaluation]:
    return [evaluator.evaluate(stack(make_many(lengths))) for lengths in SPLITS]


@pytest.mark.slow  # fast: tests/trainer/training/test_train_step.py
@under_several_forms
def test_a_strategy_changes_nothing(make_strategy, on_one_device):
    strategy = make_strategy()
    with strategy.scope():
        model = make_model(EVERY_HEAD, WITH_CONTEXT)
    evaluator = Evaluator(model, strategy, batch_size=4, chunk=16)
    for lengths, want in zip(SPLITS, on_one_device, strict=True):
        got = evaluator.evaluate(stack(make_many(lengths)))
        assert got.nll_by_field == pytest.approx(want.nll_by_field, rel=1e-5)
        assert got.nll_per_second == pytest.approx(want.nll_per_second, rel=1e-5)
        assert got.deviations == pytest.approx(want.deviations, rel=1e-5)
        assert got.accuracy == want.accuracy and got.num_notes == want.num_notes


def test_it_can_be_stopped_between_chunks(evaluator):
    calls = []

    def stop_at_the_third() -> None:
        calls.append(len(calls))
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        evaluator.evaluate(stack(make_many(LENGTHS)), between_chunks=stop_at_the_third)
    assert calls == [0, 1, 2]


def test_error_on_the_beats_grid_is_in_milliseconds_of_each_piece(model, evaluator):
    columns = {"pitch": [60], "velocity": [40], "start": [0], "duration": [20], "program": [0]}
    many = [
        Notes.from_columns(**{name: np.array(column) for name, column in columns.items()}, tempo=tempo, time_base=BEATS)
        for tempo in (60.0, 150.0)
    ]
    got = evaluator.evaluate(stack_pieces(many, EVERY_HEAD))
    guess = outputs_of(model, many[0], {})[1].fields["step"].numpy()[0, 0]  # of a step of 0
    assert got.error_milliseconds["step"] == pytest.approx(guess * (1000 / 24 + 400 / 24) / 2, rel=1e-5)


def test_a_split_without_notes(evaluator):
    with pytest.raises(ValueError, match="the split holds no note, want at least one"):
        evaluator.evaluate(stack_pieces([], EVERY_HEAD))
