"""The report: renders tidy numbers, computes nothing."""
