"""Questions with known answers, put to the base and to the merged model by vLLM: the gate after the gate."""
