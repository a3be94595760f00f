"""The gate: proves that the merged model is the base with the adapter, before anyone serves it."""
