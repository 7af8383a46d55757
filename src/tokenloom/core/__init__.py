"""The ideas that everything else is built on; numpy only."""
