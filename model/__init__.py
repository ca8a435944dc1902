"""Token sequences in, scores out; imports torch only where the network itself is."""
