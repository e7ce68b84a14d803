"""The first minutes on a GPU, and which claims they confirm."""
