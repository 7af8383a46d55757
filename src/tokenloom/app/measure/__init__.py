"""`tokenloom measure`: which tokenizer fits a text better, and why, as a page or as JSON."""
