"""A merged model sent to a registry of images or to a Hugging Face hub."""
