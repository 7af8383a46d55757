"""What a model knows of its tokens: metrics, benchmarks, analyses."""
