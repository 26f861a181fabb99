"""Files inside the page: the job's own bytes, and what has no room."""

import zlib

from generation_jobs.output import generated_music
from generation_jobs.report import midi_files
from midi_codec.music.notes import MILLISECONDS
from tests.generation_jobs.report_fakes import make_music, make_notes


def test_the_files_one_after_another(tmp_path, monkeypatch):
    root = str(tmp_path)
    make_music(tmp_path, [("a", sample, make_notes(30, rng_seed=sample)) for sample in range(3)])
    pieces = generated_music.read(root, time_base=MILLISECONDS)
    files = [(tmp_path / piece.line["path"]).read_bytes() for piece in pieces]
    packed, sizes = midi_files.pack(pieces, root)
    assert zlib.decompress(packed) == b"".join(files)
    assert sizes == [len(data) for data in files]
    monkeypatch.setattr(midi_files, "MAX_BYTES", 1)
    packed, sizes = midi_files.pack(pieces, root)
    assert (zlib.decompress(packed), sizes) == (files[0], [len(files[0]), 0, 0])
    (tmp_path / pieces[0].line["path"]).unlink()  # since it was read
    assert midi_files.pack(pieces, root)[1] == [0, len(files[1]), 0]
