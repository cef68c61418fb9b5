"""How the pipeline is run: blocks, resume, workers, training; not what is computed."""
