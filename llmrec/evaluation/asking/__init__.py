"""Asking hides how one question with a known answer comes about, drawn from a catalogue."""
