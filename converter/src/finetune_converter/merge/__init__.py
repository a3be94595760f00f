"""base + adapter -> merged model, a tensor at a time within the base's own files."""
