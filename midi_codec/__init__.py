"""The language the three jobs share: notes, MIDI bytes, note fields, records, dataset info, storage."""
