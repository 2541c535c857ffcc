"""PGSync looks for its plugins in a package of this name."""
