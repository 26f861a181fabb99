"""Reads a primer's file as the bundle's corpus was read: with its limits, salvage and cleaning policies.

Rules that reject pieces do not apply to primers: a primer is a part of a piece, and values that the model does not know
are found later. Bundles of earlier versions do not say how their corpus was read; for those the default limits apply
and nothing is cleaned.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from job_runtime import storage
from job_runtime.command_line.settings import flag
from job_runtime.problem_report import UserError
from midi_codec.cleaning import note_policies
from midi_codec.cleaning.cleaning_rules import CHANGE_NOTES, CleaningRules
from midi_codec.midi import midi_file, single_track
from midi_codec.midi.midi_file import DEFAULT_LIMITS
from midi_codec.midi.midi_header import Limits, MidiError
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import Notes

if TYPE_CHECKING:
    from trainer.bundle import Bundle


@dataclasses.dataclass(frozen=True)
class PrimerFile:
    """The notes of a file, or of a track of it."""

    notes: Notes
    salvaged: str | None = None  # the salvage level that read it, where strict reading failed
    remark: str = ""  # how the notes differ from the file, for the log; empty if they do not


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a corpus was read."""

    time_base: str
    limits: Limits = DEFAULT_LIMITS
    cleaning: CleaningRules = CleaningRules()

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Reading:
        """How the bundle says that its corpus was read.

        Raises:
          UserError: what it says is not valid.
        """
        known = {field.name for field in dataclasses.fields(Limits)}
        try:
            limits = {name: value for name, value in bundle.dataset.get("limits", {}).items() if name in known}
            cleaning = CleaningRules.from_dict(bundle.dataset.get("cleaning", {}))
            return cls(bundle.fields.time_base, Limits(**limits), cleaning)
        except (AttributeError, TypeError, ValueError) as error:
            raise UserError(f"the bundle does not say how its corpus was read: {error}") from error

    def load(self, path: str) -> bytes | str:
        """A file's bytes, or what is wrong with it."""
        limit = self.limits.max_bytes
        try:
            data = storage.read_bytes(path, max_bytes=limit)
        except FileNotFoundError:
            return f"midi {path!r} does not exist"
        except (OSError, UserError) as error:
            return f"midi {path!r} cannot be read: {getattr(error, 'strerror', None) or error}"
        if len(data) > limit:
            return f"midi {path!r} has more than {limit:,} bytes, which is the limit that the corpus was read with"
        return data

    def parse(self, path: str, data: bytes, track: int | str | None) -> PrimerFile | str:
        """The notes of a file or of one of its tracks, or what is wrong with it."""
        try:
            notes, level = self._parse(data, track)
        except MidiError as error:
            return f"midi {path!r} cannot be used: {error}"
        except LookupError as error:
            return f"midi {path!r}: {error.args[0]}"
        before = len(notes)
        notes = note_policies.apply(NoteBatch.from_notes([notes], self.time_base), self.cleaning).piece(0)
        active = self.cleaning.to_dict()
        how = " ".join(f"{flag(name)} {_shown(active[name])}" for name in CHANGE_NOTES if name in active)
        if not len(notes):
            return f"midi {path!r}: none of its {before:,} notes is left, read as the corpus was ({how})"
        changes = [f"salvaged ({level})"] if level else []
        changes += [f"read as the corpus was ({how})"] if how else []
        changes += [f"{before - len(notes):,} of {before:,} notes left out"] if len(notes) < before else []
        return PrimerFile(notes, level, f"midi {path!r}: {', '.join(changes)}" if changes else "")

    def _parse(self, data: bytes, track: int | str | None) -> tuple[Notes, str | None]:
        base, limits, apply_sustain = self.time_base, self.limits, self.cleaning.apply_sustain
        if track is not None:
            return single_track.parse(data, track, time_base=base, limits=limits, apply_sustain=apply_sustain)
        parsed = midi_file.parse_many([data], time_base=base, limits=limits, apply_sustain=apply_sustain)
        if parsed.errors:
            raise parsed.errors[0]
        return parsed.batch.piece(0), parsed.salvage_levels.get(0)


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
