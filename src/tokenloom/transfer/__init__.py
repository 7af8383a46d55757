"""Move a trained model to other tokens, another architecture, another domain."""
