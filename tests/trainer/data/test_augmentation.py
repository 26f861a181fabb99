import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from midi_codec import fields
from midi_codec.fields import MAX_TICK, build_field_table
from midi_codec.music.notes import MILLISECONDS
from trainer.data.augmentation import NUM_DRAWS, Augmentation, augment

TABLE = build_field_table({"step": ([0, 10], [1, 1]), "duration": ([10], [1])}, programs=(0,), time_base=MILLISECONDS)
STEP, PITCH, DURATION, VELOCITY = range(4)


def make_windows(seed: int, *, rows: int = 6, time: int = 9):
    """Values at every position, notes at some, drums among those."""
    rng = np.random.default_rng(seed)
    high = [4000, 128, 4000, 127]
    raw = np.stack([rng.integers(0, top, (rows, time)) for top in high], axis=-1).astype(np.int32)
    raw[..., VELOCITY] += 1
    is_note = rng.random((rows, time)) < 0.8
    is_note[0] = False  # a row of padding
    return raw, is_note, is_note & (rng.random((rows, time)) < 0.3)


def run(windows, amounts: Augmentation, seed: int = 0) -> np.ndarray:
    raw, is_note, is_drum = windows
    draws = np.random.default_rng(seed).random((len(raw), NUM_DRAWS))
    return augment(raw, is_note=is_note, is_drum=is_drum, table=TABLE, amounts=amounts, draws=draws)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 24), st.integers(0, 64), st.floats(0, 0.99))
def test_every_value_stays_one_that_the_table_knows(seed, transpose, velocity, tempo):
    windows = raw, is_note, is_drum = make_windows(seed)
    changed = run(windows, Augmentation(transpose=transpose, velocity=velocity, tempo=tempo), seed)
    for index, field in enumerate(TABLE):
        assert not field.unknown(changed[is_note][:, index]).size
    shift = changed[..., PITCH] - raw[..., PITCH]
    tuned = is_note & ~is_drum
    for row in range(len(raw)):
        assert len(set(shift[row][tuned[row]])) <= 1  # one transposition a window
        assert abs(shift[row]).max() <= transpose
        assert abs(changed[row, :, VELOCITY] - raw[row, :, VELOCITY]).max() <= velocity
    assert (shift[~tuned] == 0).all()  # drums and padding keep theirs
    assert (changed[~is_note] == raw[~is_note]).all()


def test_all_shifts_within_the_range_occur_and_no_others():
    raw = np.tile(np.array([[[5, 126, 5, 64]]], np.int32), (4000, 1, 1))
    everywhere = np.ones(raw.shape[:2], bool)
    changed = run((raw, everywhere, ~everywhere), Augmentation(transpose=5, velocity=2))
    pitches, counts = np.unique(changed[..., PITCH], return_counts=True)
    assert pitches.tolist() == [121, 122, 123, 124, 125, 126, 127]  # 5 down, but only 1 up fits
    assert counts.min() > 4000 / 7 * 0.8
    assert np.unique(changed[..., VELOCITY]).tolist() == [62, 63, 64, 65, 66]


def test_tempo_scales_step_and_duration_of_a_window_alike():
    raw = np.full((500, 2, 4), 1000, np.int32)
    raw[..., PITCH], raw[..., VELOCITY] = 60, 80
    everywhere = np.ones(raw.shape[:2], bool)
    changed = run((raw, everywhere, ~everywhere), Augmentation(transpose=0, tempo=0.25))
    times = changed[..., [STEP, DURATION]].reshape(500, 4)
    assert (times == times[:, :1]).all()
    assert times.min() >= 800 and times.max() <= 1250  # by 1.25 either way
    assert times.min() < 810 and times.max() > 1240
    assert (changed[..., [PITCH, VELOCITY]] == [60, 80]).all()


def test_the_longest_time_does_not_wrap():
    raw = np.full((50, 1, 4), MAX_TICK, np.int32)
    raw[..., PITCH], raw[..., VELOCITY] = 60, 80
    everywhere = np.ones(raw.shape[:2], bool)
    changed = run((raw, everywhere, ~everywhere), Augmentation(transpose=0, tempo=0.9))
    assert changed.min() > 0 and changed[..., STEP].max() == fields.MAX_TICK


def test_one_kind_of_change_does_not_move_another():
    windows = make_windows(3)
    both = run(windows, Augmentation(transpose=5, tempo=0.5, velocity=3))
    alone = run(windows, Augmentation(transpose=5))
    assert (both[..., PITCH] == alone[..., PITCH]).all()


def test_nothing_changes_at_zero_and_the_input_never():
    windows = raw, _, _ = make_windows(4)
    before = raw.copy()
    assert (run(windows, Augmentation(transpose=0)) == before).all()
    run(windows, Augmentation(transpose=5, tempo=0.5, velocity=3))
    assert (raw == before).all()
