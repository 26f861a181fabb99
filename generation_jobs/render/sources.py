"""What can be rendered: MIDI files, the output of a generation job, a dataset. Each lists its pieces, then reads them.

A piece's audio file is named after its MIDI file: `a/song.mid` becomes `a/song.ogg`. If two pieces would have one name,
such as `song.mid` and `song.midi`, both keep their extension.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

from generation_jobs.output import manifest, selection
from generation_jobs.output.piece_files import read_pieces
from generation_jobs.output.shards import MIDI_FOLDER
from job_runtime import command, io_errors, storage
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, records, split_reader
from midi_codec.listing.file_listing import open_listing
from midi_codec.listing.source_roots import name_roots, with_slash
from midi_codec.midi import midi_file
from midi_codec.midi.midi_header import EXTENSIONS
from midi_codec.music.notes import Notes


@dataclasses.dataclass(frozen=True)
class Piece:
    """A piece that can be rendered."""

    output: str  # path of the audio file below the output folder, without suffix
    where: str  # for messages, and for the source to read it
    ids: tuple[str, ...]  # any of them names the piece in a list


@dataclasses.dataclass(frozen=True)
class Source:
    """Pieces in a fixed order, and a function that reads chosen ones in that order: notes, or what is wrong."""

    pieces: list[Piece]
    read: Callable[[Sequence[Piece]], Iterator[Notes | str]]
    num_empty: int = 0  # pieces without notes, which are left out

    def choose(self, select: str | None, max_pieces: int | None) -> list[Piece]:
        """The pieces that a list names, or all; then the first of them.

        Raises:
          UserError: what is wrong with the list.
        """
        chosen = self.pieces
        if not chosen:
            raise UserError("there is no piece to render")
        if select is not None:
            wanted = f"such as {', '.join(map(repr, chosen[0].ids[:2]))}"
            chosen = [chosen[index] for index in selection.choose(select, [piece.ids for piece in chosen], wanted)]
        return chosen[:max_pieces]


def midi_files(inputs: Sequence[str]) -> Source:
    """Files, folders and globs.

    Raises:
      UserError: everything that is wrong with the inputs.
    """
    problems: list[str] = []
    roots: list[str] = []
    paths: set[str] = set()
    for text in inputs:
        with command.collecting(problems, f"--input {text}"):
            root, found = _list_midi(text)
            roots.append(root)
            paths.update(found)
            if not found:
                raise UserError(f"holds no file with a MIDI extension ({', '.join(EXTENSIONS)})")
    if problems:
        raise UserError(problems)
    names: dict[str, str] = {}
    for prefix, root in name_roots(roots).items():
        below = with_slash(root)
        names |= {path: f"{prefix}/{path[len(below) :]}".strip("/") for path in paths if path.startswith(below)}
    ordered = sorted(paths)
    pieces = _named([names[path] for path in ordered], [(path, (names[path],)) for path in ordered])
    read = functools.partial(storage.read_many, max_bytes=midi_file.DEFAULT_LIMITS.max_bytes)
    return Source(pieces, functools.partial(_parse_all, read))


def _list_midi(text: str) -> tuple[str, list[str]]:
    try:
        root, listed = open_listing(text)
        entries = list(listed)
    except FileNotFoundError as error:
        raise UserError("no such file or folder") from error
    except ValueError as error:
        raise UserError(str(error)) from error
    if hidden := [entry for entry in entries if entry.trouble and entry.path.endswith("/")]:
        raise UserError(f"the folder {entry.path!r} cannot be listed: {entry.trouble}" for entry in hidden)
    return root, [entry.path for entry in entries if entry.path.lower().endswith(EXTENSIONS)]


def generated_music(root: str) -> Source:
    """The pieces of a finished generation job.

    Raises:
      UserError: there is no finished job.
    """
    lines = [line for line in manifest.read(root) if line["path"] is not None]
    sounding = [line for line in lines if line["num_notes"]]
    names = [line["path"].partition("!")[2] or line["path"].removeprefix(f"{MIDI_FOLDER}/") for line in sounding]
    pieces = _named(names, [(line["path"], tuple(selection.ids_of(line))) for line in sounding])
    read = functools.partial(read_pieces, root)
    return Source(pieces, functools.partial(_parse_all, read), len(lines) - len(sounding))


def dataset_pieces(root: str, split: str | None) -> Source:
    """The pieces of a dataset's split, or of all splits.

    Raises:
      UserError: there is no complete dataset, or a shard cannot be read.
    """
    info = dataset_info.load(root)
    splits = dataset_info.SPLITS if split is None else (split,)
    sources, described = [], []
    for path in (path for split in splits for path in dataset_info.shard_paths(root, info, split)):
        try:
            for record in records.read_records(records.read_shard(path)):
                features = records.split_features(record)
                piece_id, source = (
                    features[name].decode("utf-8", "surrogateescape") for name in ("piece_id", "source")
                )
                sources.append(source.replace("!", "/"))
                described.append((piece_id, (piece_id, source)))
        except (OSError, ValueError) as error:
            raise UserError(f"{path!r} cannot be read: {error}") from error

    def read(chosen: Sequence[Piece]) -> Iterator[Notes]:
        wanted = {piece.where for piece in chosen}
        for split in splits:
            pieces = split_reader.read_split(root, info, split)
            yield from (piece.notes for piece in pieces if piece.piece_id in wanted)

    return Source(_named(sources, described), read)


def _named(names: Sequence[str], described: Iterable[tuple[str, tuple[str, ...]]]) -> list[Piece]:
    stems = [name.rpartition(".")[0] if name.lower().endswith(EXTENSIONS) else name for name in names]
    count = collections.Counter(stems)
    outputs = (stem if count[stem] == 1 else name for stem, name in zip(stems, names, strict=True))
    return [Piece(output, where, (*ids, output)) for output, (where, ids) in zip(outputs, described, strict=True)]


def with_safe_names(pieces: Sequence[Piece]) -> tuple[list[Piece], list[str]]:
    """The pieces whose files would be below the output folder, each of its own name; and sentences on the others."""
    count = collections.Counter(piece.output for piece in pieces)
    safe, problems = [], []
    for piece in pieces:
        if not manifest.is_below(piece.output):
            problems.append(f"{piece.where!r} is not rendered: {piece.output!r} leads out of the output folder")
        elif count[piece.output] > 1:
            problems.append(f"{piece.where!r} is not rendered: {piece.output!r} would be another piece's file, too")
        else:
            safe.append(piece)
    return safe, problems


def _parse_all(
    read: Callable[[Sequence[str]], Iterable[bytes | OSError]], pieces: Sequence[Piece]
) -> Iterator[Notes | str]:
    """The notes of each file from the first onset on, or what is wrong with it."""
    for piece, data in zip(pieces, read([piece.where for piece in pieces]), strict=True):
        if isinstance(data, OSError):
            yield f"{piece.where!r} cannot be read: {io_errors.reason(data)}"
            continue
        parsed = midi_file.parse_many([data], apply_sustain=True)
        if parsed.errors:
            yield f"{piece.where!r} cannot be rendered: {parsed.errors[0]}"
        else:
            yield parsed.batch.piece(0).from_first_onset()
