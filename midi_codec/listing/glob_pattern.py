"""What a shell with `globstar` means by a pattern, as a regular expression over paths.

wcmatch translates the pattern; it is imported when there is one. As in a shell, a pattern may match a folder, and a
folder stands for everything below it. Unlike in a shell, the extension of a MIDI file or an archive at the end of a
pattern matches in any case, because a `*.mid` that misses `SONG.MID` is never intended.

Beam's own matching is not used: its `**/` skips files at the root, and it distinguishes the case of extensions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from midi_codec.midi.midi_header import EXTENSIONS as MIDI_EXTENSIONS

ARCHIVE_EXTENSIONS = (".zip", ".tar", ".tar.gz", ".tgz")

_MAGIC = re.compile(r"[*?\[]|\{[^{}]*,")
_EXTENSION = re.compile(rf"(?:{'|'.join(map(re.escape, MIDI_EXTENSIONS + ARCHIVE_EXTENSIONS))})$", re.IGNORECASE)
_BRACKET, _RANGE = re.compile(r"\\.|(\[[^\]/]+\])"), re.compile(r"(\w)-(\w)")


def is_pattern(path: str) -> bool:
    """Whether a shell would look for matches instead of taking the path literally."""
    return _MAGIC.search(path) is not None


def literal_folder(pattern: str) -> str:
    """The deepest folder above every match: the names before the first one with a wildcard."""
    names = pattern.split("/")
    for count, name in enumerate(names):
        if is_pattern(name) or "{" in name:
            return "/".join(names[:count]) or ("/" if pattern.startswith("/") else "")
    return "/".join(names[:-1])


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The expression for whole paths of files.

    Raises:
      ValueError: a `[` range runs backwards, or the braces expand to too many patterns; says which.
    """
    import bracex

    try:
        expanded = _expand_braces(pattern)
    except bracex.ExpansionLimitException as error:
        raise ValueError(f"not a glob: {error}") from error
    for first, last in (pair for bracket in _BRACKET.findall(pattern) for pair in _RANGE.findall(bracket)):
        if first > last:
            raise ValueError(f"not a glob: the range {first}-{last} runs backwards")
    return _any_of(_expression(_in_any_case(each.rstrip("/"))) + _below(each) for each in expanded)


def compile_folders(pattern: str) -> re.Pattern[str]:
    """The expression for folders, without a final slash, that may hold files that match the pattern."""
    folders = set()
    for each in _expand_braces(pattern):
        names = each.rstrip("/").split("/")
        depth = names.index("**") + 1 if "**" in names else len(names)
        folders |= {"/".join(names[:count]) for count in range(1, depth + 1)}
    return _any_of(_expression(folder) for folder in sorted(folders))


def _any_of(expressions: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in expressions), re.DOTALL)


def _expand_braces(pattern: str) -> list[str]:
    import bracex

    return bracex.expand(pattern, keep_escapes=True)


def _expression(pattern: str) -> str:
    """The expression for exactly what the pattern matches, files or folders."""
    from wcmatch import glob

    (expression,), _ = glob.translate(pattern, flags=glob.GLOBSTAR | glob.FORCEUNIX)
    return expression.removeprefix("^").removesuffix("$")


def _below(pattern: str) -> str:
    return "/.*" if pattern.endswith("/") else "(?:/.*)?"


def _in_any_case(pattern: str) -> str:
    """`*.[mM][iI][dD]` for `*.mid`."""
    extension = _EXTENSION.search(pattern)
    if not extension:
        return pattern
    folded = (f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in extension.group())
    return pattern[: extension.start()] + "".join(folded)
