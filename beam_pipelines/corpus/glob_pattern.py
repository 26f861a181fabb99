"""What a shell with `globstar` means by a pattern, as a regular expression over paths.

    *        any run of characters of one name; not a leading dot
    ?        one character of a name; not a leading dot
    [a-z]    one of these; [!a-z] or [^a-z] one of the others
    **       as a whole name: any number of folders, including none; those with a leading dot are left out
    {a,b}    either; expanded before everything else; may be nested
    \\x       x itself

As in a shell, a pattern may match a folder, and a folder stands for everything below it. Unlike in a shell, the
extension of a MIDI file or an archive at the end of a pattern matches in any case, because a `*.mid` that misses
`SONG.MID` is never intended.

Beam's own matching is not used: its `**/` skips files at the root, and it distinguishes the case of extensions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from midi_codec.midi.midi_header import EXTENSIONS as MIDI_EXTENSIONS

ARCHIVE_EXTENSIONS = (".zip", ".tar", ".tar.gz", ".tgz")

_MAGIC = re.compile(r"[*?\[]|\{[^{}]*,")
_EXTENSION = re.compile(rf"(?:{'|'.join(map(re.escape, MIDI_EXTENSIONS + ARCHIVE_EXTENSIONS))})$", re.IGNORECASE)
_NO_DOT = r"(?!\.)"


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


def expand_braces(pattern: str) -> list[str]:
    """`a.{mid,kar}` gives `a.mid` and `a.kar`; braces without a comma stand for themselves."""
    depth, begin = 0, -1
    commas: list[int] = []
    for position, character in enumerate(pattern):
        if character == "{":
            depth += 1
            if depth == 1:
                begin, commas = position, []
        elif character == "," and depth == 1:
            commas.append(position)
        elif character == "}" and depth:
            depth -= 1
            if depth == 0 and commas:
                cuts = [begin, *commas, position]
                middles = [pattern[left + 1 : right] for left, right in zip(cuts, cuts[1:], strict=False)]
                ends = expand_braces(pattern[position + 1 :])
                starts = [pattern[:begin] + inner for middle in middles for inner in expand_braces(middle)]
                return [start + end for start in starts for end in ends]
    return [pattern]


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The expression for whole paths of files; braces are expanded here.

    Raises:
      ValueError: a `[` range runs backwards; says which.
    """
    try:
        return re.compile("|".join(f"(?:{_expression(each)})" for each in expand_braces(pattern)), re.DOTALL)
    except re.error as error:
        raise ValueError(f"not a glob: {error.msg}") from error


def compile_folders(pattern: str) -> re.Pattern[str]:
    """The expression for folders, without a final slash, that may hold files that match the pattern."""
    expressions = set()
    for each in expand_braces(pattern):
        names = each.rstrip("/").split("/")
        depth = names.index("**") if "**" in names else len(names) - 1
        expressions |= {_names_expression(names[:count]) for count in range(1, depth + 1)}
        if "**" in names:
            expressions.add(_expression("/".join(names[: depth + 1])))
    return re.compile("|".join(f"(?:{each})" for each in sorted(expressions)), re.DOTALL)


def _expression(pattern: str) -> str:
    names = pattern.rstrip("/").split("/")
    return _names_expression(names) + ("/.*" if pattern.endswith("/") else "(?:/.*)?")


def _names_expression(names: Sequence[str]) -> str:
    parts = []
    for place, name in enumerate(names):
        is_last = place == len(names) - 1
        if name == "**" and not is_last:
            parts.append(rf"(?:{_NO_DOT}[^/]+/)*")
        elif name == "**":
            parts.append(rf"{_NO_DOT}[^/]+")
        else:
            parts.append(_name_expression(name, is_last) + ("" if is_last else "/"))
    return "".join(parts)


def _name_expression(name: str, is_last: bool) -> str:
    extension = _EXTENSION.search(name) if is_last else None
    stem = name[: extension.start()] if extension else name
    out = [_NO_DOT] if name[:1] in ("*", "?", "[") else []
    position = 0
    while position < len(stem):
        character = stem[position]
        position += 1
        if character == "*":
            out.append("[^/]*")
        elif character == "?":
            out.append("[^/]")
        elif character == "\\" and position < len(stem):
            out.append(re.escape(stem[position]))
            position += 1
        elif character == "[":
            expression, position = _bracket(stem, position)
            out.append(expression)
        else:
            out.append(re.escape(character))
    if extension:
        out.append(f"(?i:{re.escape(extension.group())})")
    return "".join(out)


def _bracket(name: str, begin: int) -> tuple[str, int]:
    """The expression of the bracket whose content starts at `begin`, and the position after it."""
    inside = begin + (name[begin : begin + 1] in ("!", "^"))
    end = name.find("]", inside + 1)  # a `]` that comes first stands for itself
    if end < 0:
        return re.escape("["), begin
    members = re.sub(r"([\\\[\]^&~|])", r"\\\1", name[inside:end])
    return f"(?!/)[{'^' if inside > begin else ''}{members}]", end + 1
