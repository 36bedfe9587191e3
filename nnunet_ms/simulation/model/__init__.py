"""Who the patients are and what happens to them: presets, random streams, course."""
