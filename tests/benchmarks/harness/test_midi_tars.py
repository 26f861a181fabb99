"""The synthetic archives hold what they say: distinct files, copies, and files of zeros."""

from __future__ import annotations

import hashlib
import tarfile

from benchmarks.harness import midi_tars
from midi_codec.midi import midi_file
from midi_codec.music.notes import MILLISECONDS


def test_files_of_an_archive(tmp_path):
    path = tmp_path / "a.tar"
    num_notes = midi_tars.write_tar(path, key=3, num_files=200)
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        files = [archive.extractfile(member).read() for member in members]
    assert [member.name for member in members[:2]] == ["0000600.mid", "0000601.mid"] and len(members) == 200
    parsed = midi_file.parse_many(files, time_base=MILLISECONDS, salvage=True)
    assert sorted(parsed.errors) == [197] and not files[197].strip(b"\0") and not parsed.salvage_levels
    assert files[99] == files[98] and files[199] == files[198]
    assert len({hashlib.sha256(data).digest() for data in files}) == 200 - 2
    lengths = [len(parsed.batch.piece(index)) for index in range(199)]
    assert sum(lengths) == num_notes + lengths[99] + lengths[198]  # both copies; a damaged file lies between
    assert min(lengths) >= 60 and max(lengths) <= 340 and len(set(lengths)) > 50


def test_a_key_gives_the_same_bytes_and_another_key_other_notes(tmp_path):
    bodies = []
    for name, key in (("a", 1), ("b", 1), ("c", 2)):
        midi_tars.write_tar(tmp_path / name, key=key, num_files=100)
        bodies.append((tmp_path / name).read_bytes())
    assert bodies[0] == bodies[1]
    blocks = [{body[at : at + 512] for at in range(512, 4096, 512)} for body in (bodies[0], bodies[2])]
    assert blocks[0].isdisjoint(blocks[1])
