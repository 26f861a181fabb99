"""What one `--input` names: the root of its sources, and its files, sorted by path."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from job_runtime import io_errors, storage
from job_runtime.problem_report import UserError
from job_runtime.storage import UNKNOWN_SIZE, Entry
from job_runtime.storage.sorted_runs import sort_strings
from midi_codec.listing import file_listing
from midi_codec.listing.file_listing import absolute, folder_of, store_of
from midi_codec.listing.glob_pattern import ARCHIVE_EXTENSIONS, MIDI_EXTENSIONS
from midi_codec.listing.source_roots import with_slash

_NUM_NAMED = 3  # of many mistakes in a list
_MOST_NAMED = 300  # characters of a path in a message


@dataclasses.dataclass
class InputArgument:
    """One `--input` as the user wrote it, with what was found and what is wrong."""

    text: str
    num_inputs: int = 0
    num_others: int = 0
    mistakes: list[str] = dataclasses.field(default_factory=list)  # of lines in a list
    problems: list[str] = dataclasses.field(default_factory=list)

    def all_problems(self) -> list[str]:
        """Sentences on everything that is wrong with it."""
        problems = list(self.problems)
        if self.mistakes:
            named = "; ".join(self.mistakes[:_NUM_NAMED])
            more = len(self.mistakes) - _NUM_NAMED
            problems.append(named + (f"; and {more:,} more like these" if more > 0 else ""))
        if not problems and not self.num_inputs:
            problems.append(self._nothing())
        return [f"--input {_shortened(self.text)}: {problem}" for problem in problems]

    def _nothing(self) -> str:
        wanted = ", ".join(MIDI_EXTENSIONS)
        if self.num_others:
            return f"none of {self.num_others} files has a MIDI extension ({wanted})"
        return f"matches no file; want files with a MIDI extension ({wanted})"


def _shortened(path: str) -> str:
    """A path as a message names it."""
    if len(path) > _MOST_NAMED:
        return f"{path[:_MOST_NAMED]}… ({len(path):,} characters)"
    return path if path.isprintable() else repr(path)


@dataclasses.dataclass(frozen=True)
class Listing:
    """Files below one root."""

    argument: InputArgument
    root: str
    entries: Iterator[Entry]  # sorted by path; a mistake is added to `argument` and ends them


def open_listings(text: str, output: str | None) -> tuple[InputArgument, list[Listing]]:
    """An input's listings: one, or several if a list names files in several buckets. Most work is done later."""
    argument = InputArgument(text)
    listings: list[tuple[str, Iterator[Entry]]] = []
    for opened in _guard(argument, iter([functools.partial(_open, argument, text)])):
        for listing in _guard(argument, _calls(opened)):
            listings += listing
    return argument, [Listing(argument, root, _but(output, _guard(argument, entries))) for root, entries in listings]


def _calls(function: Callable[[], Any]) -> Iterator:
    yield function()


def _guard(argument: InputArgument, items: Iterator) -> Iterator:
    """The items, up to the first mistake of the user."""
    try:
        yield from items
    except FileNotFoundError:
        argument.problems.append("no such file or folder")
    except OSError as error:
        if not io_errors.is_of_one_file(error):
            raise
        argument.problems.append(f"cannot be read: {io_errors.reason(error)}")
    except ValueError as error:
        argument.problems.append(str(error))
    except UserError as error:
        argument.problems += error.problems


def _open(argument: InputArgument, text: str) -> list[tuple[str, Iterator[Entry]]]:
    if not text.removeprefix("@").strip():
        raise ValueError("names nothing, want a folder, a glob, a file, an archive or a @list")
    if text.startswith("@"):
        return _open_list(argument, absolute(text[1:]))
    return [file_listing.open_listing(text)]


def _but(output: str | None, entries: Iterator[Entry]) -> Iterator[Entry]:
    """The files except those below the output."""
    if output is None:
        return entries
    ours = with_slash(absolute(output))
    return (entry for entry in entries if not entry.path.startswith(ours))


# ------------------------------------------------------------------------------------------------ lists of paths


def _open_list(argument: InputArgument, list_path: str) -> list[tuple[str, Iterator[Entry]]]:
    """One listing for the local files of the list, and one per bucket.

    Its root is the list's own folder if all of them are below it, else the deepest folder they share.
    """
    data = storage.read_bytes(list_path)
    folders: dict[str, str] = {}
    for path in _paths_of(data, list_path):
        store, folder = store_of(path), folder_of(path)
        folders[store] = _shared(folders[store], folder) if store in folders else folder
    home = folder_of(list_path)
    listings = []
    for store, folder in sorted(folders.items()):
        if store and not store.startswith(storage.SCHEMES):
            argument.mistakes.append(f"{store} is neither a local path nor on {' or '.join(storage.SCHEMES)}")
            continue
        paths = sort_strings(path for path in _paths_of(data, list_path) if store_of(path) == store)
        root = home if with_slash(folder).startswith(with_slash(home)) else folder
        listings.append((root, _look_up_all(argument, paths)))
    if not folders:
        argument.problems.append("names no file")
    return listings


def _paths_of(data: bytes, list_path: str) -> Iterator[str]:
    """The paths of a list; relative ones are relative to the list's folder."""
    home = folder_of(list_path)
    for line in io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", errors="surrogateescape", newline="\n"):
        path = line.rstrip("\r\n")
        if not path.strip() or path.startswith("#"):
            continue
        if "://" not in path and not path.startswith("/"):
            path = storage.join(home, path.removeprefix("./"))
        yield absolute(path)


def _shared(folder: str, other: str) -> str:
    """The deepest folder that both are in or are; usually one of the two."""
    while not with_slash(other).startswith(with_slash(folder)):
        folder = folder_of(folder)
    return folder


def _look_up_all(argument: InputArgument, paths: Iterable[str]) -> Iterator[Entry]:
    for path in paths:
        # Only cheap requests are made here: a missing object becomes a reject when it is read.
        is_archive = path.lower().endswith(ARCHIVE_EXTENSIONS)
        entry = Entry(path, UNKNOWN_SIZE)
        if is_archive or not storage.is_remote(path):
            wrong = "is missing"
            try:
                file = storage.look_up(path)
                if file is None and storage.is_folder(path):
                    wrong = "is a folder, want a file"
            except UserError as error:
                file, wrong = None, error.problems[0].removeprefix(f"{path!r} ")
            except OSError as error:
                if not io_errors.is_of_one_file(error):
                    raise
                file, wrong = None, f"cannot be read: {io_errors.reason(error)}"
            if file is None:
                argument.mistakes.append(f"{_shortened(path)} {wrong}")
                continue
            entry = file
        yield entry
