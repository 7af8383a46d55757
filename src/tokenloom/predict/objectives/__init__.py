"""What a model is trained on beside, or instead of, the next token."""
