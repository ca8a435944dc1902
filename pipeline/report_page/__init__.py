"""The backtest's report as one HTML file that asks the network for nothing."""
