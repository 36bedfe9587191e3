"""One command from scans to lesion tables: what stands above the rooms that it drives."""
