"""Plain, reusable models and the loop that trains them."""
