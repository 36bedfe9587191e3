"""Room 3: lesion tables, agreement and trial endpoints from masks."""
