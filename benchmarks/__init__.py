"""What Ratchet costs, measured: `make bench` writes RESULTS.md. One module a row, all of one run on one machine."""
