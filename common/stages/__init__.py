"""The stages of a run: data, model, sft, train, evaluate, record. Each resumes on its own."""
