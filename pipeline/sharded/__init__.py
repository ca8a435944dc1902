"""A backtest by several processes, with the outputs of one."""
