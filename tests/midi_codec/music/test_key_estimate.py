import numpy as np
import pytest

from midi_codec.music import key_estimate
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, Notes


def melody(pitches: list[int], durations: list[int] | None = None, *, program: int = 0) -> Notes:
    lengths = np.array(durations or [24] * len(pitches))
    return Notes.from_columns(
        pitch=np.array(pitches),
        velocity=np.full(len(pitches), 64),
        start=np.cumsum(lengths) - lengths,
        duration=lengths,
        program=np.full(len(pitches), program),
        time_base=BEATS,
    )


MAJOR, MINOR = [0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0], [0, 2, 3, 5, 7, 8, 11, 12, 7, 3, 0]


@pytest.mark.parametrize(
    "tonic, major, minor",
    [(60, "C major", "C minor"), (62, "D major", "D minor"), (65, "F major", "F minor"), (70, "Bb major", "Bb minor")],
)
def test_the_key_of_a_scale(tonic, major, minor):
    keys = [str(key_estimate.estimate(melody([tonic + step for step in steps]))) for steps in (MAJOR, MINOR)]
    assert keys == [major, minor]


@pytest.mark.parametrize(
    "notes", [melody([60] * 7), melody([36, 38] * 8, program=DRUM_PROGRAM), melody(list(range(60, 72)))]
)
def test_notes_that_show_no_key(notes):
    assert key_estimate.estimate(notes) is None
