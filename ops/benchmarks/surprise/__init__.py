"""Networks of every benchmark set trained on a GPU machine that has torch and NumPy alone."""
