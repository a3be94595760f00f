"""A model folder's signature in OpenSSF Model Signing's format, by a key of one's own."""
