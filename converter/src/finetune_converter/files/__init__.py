"""Files of any kind: hashed, read as strict JSON, and written so that they appear whole or not at all."""
