"""Several trials side by side: their outputs are read, and what they have in common is compared."""
