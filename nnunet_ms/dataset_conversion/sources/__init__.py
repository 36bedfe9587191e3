"""One module per kind of source data: finds cases by their names."""
