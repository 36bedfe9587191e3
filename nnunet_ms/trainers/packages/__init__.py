"""Models as packages: one file with weights, card, licence and hashes; where installed ones lie."""
