"""Whether what stands in the output topics is what a replay of the input gives: no output lost, doubled or changed."""
