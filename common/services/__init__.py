"""Models behind HTTP: a reward model and a reference model, their servers and their clients.

`client.py` has what both clients share, `reward.py` and `reference.py` the clients, which speak to
the servers here and to vLLM's; `server.py` and the two beside it are the servers for small models
(`python -m common serve`), `launch.py` runs one as a child of a training.
"""
