"""One module per question that the benchmark answers; each case takes a Run and reports rows to it."""
