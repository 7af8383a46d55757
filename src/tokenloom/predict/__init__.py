"""Predict tokens in another order or another form, and decode them."""
